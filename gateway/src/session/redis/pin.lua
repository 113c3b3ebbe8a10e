-- Pins a principal to a replica if it is where it was seen. KEYS: the pin. ARGV: where it was
-- seen or nothing, the replica, how long it holds.

local seen, by, life = take(), take(), take()
local held = redis.call('GET', KEYS[1]) or ''
if held ~= seen then
  return held
end
redis.call('SET', KEYS[1], by, 'PX', life)
return by
