-- A session as an operator sees it. KEYS: s l c.

if not redis.call('HGET', KEYS[1], 'owner') then
  return {}
end
local left = math.max(redis.call('PTTL', KEYS[1]), 0)
local calls, events = redis.call('HLEN', KEYS[3]), redis.call('XLEN', KEYS[2])
return { redis.call('HGETALL', KEYS[1]), calls, events, left }
