-- Removes a session. What stays for a while says that it ended: an owner that does not know that
-- yet would restore it, as if the store had forgotten it.
-- KEYS: s l c. ARGV: the owner whose it has to be or nothing, how long its own owner may be late.

local s, l, c = KEYS[1], KEYS[2], KEYS[3]
local owner, late = take(), take()
local held = redis.call('HMGET', s, 'owner', 'end', 'holder')
if not held[1] then
  return { 'unknown' }
end
if owner ~= '' and held[1] ~= owner then
  return { 'other' }
end
redis.call('DEL', s, l, c)
redis.call('HSET', s, 'ended', '1')
redis.call('PEXPIREAT', s, owner == '' and held[2] or whole(now_ms() + late))
return { 'done', held[3] or '' }
