-- Notes a sign of life. KEYS: replicas by their last beat, their words, the server's own age.
-- ARGV: name, number, words, how long a beat lasts.

local name, number, words, lasts = take(), take(), take(), take()
local now = now_ms()
-- A server that runs for the first time since it was asked may have lost its last writes, and
-- another that was made master in its place as well: both are as young as one that was emptied.
local said, info = pcall(redis.call, 'INFO', 'server')
local run = said and string.match(info, 'run_id:(%x+)') or ''
local born = redis.call('HMGET', KEYS[3], 'run', 'at')
if born[1] ~= run then
  born[2] = whole(now)
  redis.call('HSET', KEYS[3], 'run', run, 'at', born[2])
end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now - lasts))) do
  redis.call('ZREM', KEYS[1], dead)
  redis.call('HDEL', KEYS[2], dead)
end
local last = string.match(redis.call('HGET', KEYS[2], name) or '', '^%d+') or '0'
if tonumber(number) > tonumber(last) then
  redis.call('ZADD', KEYS[1], whole(now), name)
  redis.call('HSET', KEYS[2], name, words)
end
return { whole(now), whole(math.max(now - born[2], 0)) }
