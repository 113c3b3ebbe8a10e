-- Gives a session back. KEYS: s. ARGV: owner, number.

local owner, number = take(), take()
local held = redis.call('HMGET', KEYS[1], 'owner', 'number')
if held[1] == owner and tonumber(number) > tonumber(held[2]) then
  redis.call('HSET', KEYS[1], 'owner', '', 'number', number)
end
return 'done'
