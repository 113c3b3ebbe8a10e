-- Counts sessions for some time from here on, whether or not they were counted before. KEYS:
-- sessions by the ends of that. ARGV: how long they count, how many that are over are taken out at
-- most, the sessions.

local life, most = take(), tonumber(take())
local now = now_ms()
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, most)
for _, session in ipairs(over) do
  redis.call('ZREM', KEYS[1], session)
end
while at < #ARGV do
  redis.call('ZADD', KEYS[1], whole(now + life), take())
end
if redis.call('PTTL', KEYS[1]) < tonumber(life) then
  redis.call('PEXPIRE', KEYS[1], life)
end
return 'done'
