-- Writes a page down.
-- KEYS: s l c. ARGV: owner, number, prev, seq, caps and events, calls begun, calls ended, fields
-- to set, fields to drop.

local s, l, c = KEYS[1], KEYS[2], KEYS[3]
local owner, number, prev, seq = take(), take(), take(), take()
local held = redis.call('HMGET', s, 'owner', 'number', 'seq', 'ended', 'fence')
if not held[1] and not held[4] then
  return 'unknown'
end
if is_earlier(held[5], owner) then
  return 'behind'
end
if held[1] ~= owner then
  return 'lost'
end
if held[2] == number then
  return 'done'
end
-- A write that was given up and comes late must not undo what was written after it.
if tonumber(number) < tonumber(held[2]) or (held[3] ~= prev and held[3] ~= seq) then
  return 'behind'
end
append(s, l, held[3] ~= prev)
set_all(c)
drop_all(c)
set_all(s)
drop_all(s)
redis.call('HSET', s, 'seq', seq, 'number', number)
touch(s, l, c)
return 'done'
