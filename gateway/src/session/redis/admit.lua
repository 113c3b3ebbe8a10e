-- Counts a session of a principal's in. KEYS: the principal's sessions by their ends. ARGV: the
-- session, how many there may be, how long it counts.

local session, most, life = take(), tonumber(take()), take()
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
local counted = redis.call('ZSCORE', KEYS[1], session)
if not counted and redis.call('ZCARD', KEYS[1]) >= most then
  return 0
end
redis.call('ZADD', KEYS[1], whole(now + life), session)
if redis.call('PTTL', KEYS[1]) < tonumber(life) then
  redis.call('PEXPIRE', KEYS[1], life)
end
return 1
