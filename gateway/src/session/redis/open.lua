-- Creates a session, or restores it as a whole for a store that forgot.
-- KEYS: s l c. ARGV: mode, owner, number, the fence of the owner before, idle, total, seq, floor,
-- spans, fence, the record's pairs, caps and events, calls.

local s, l, c = KEYS[1], KEYS[2], KEYS[3]
local mode, owner, number, former = take(), take(), take(), tonumber(take())
local held = redis.call('HMGET', s, 'owner', 'number', 'ended', 'fence')
if held[1] or held[3] then
  -- A command that a client of a cluster sent twice is answered as it was the first time.
  if held[1] == owner and held[2] == number then
    return 'done'
  end
  if mode == 'create' then
    return 'taken'
  end
  if not (held[4] and tonumber(held[4]) <= former) then
    if held[1] ~= owner then
      return 'lost'
    end
    -- It was overtaken by a later one: whoever sent it has long since stopped waiting.
    if tonumber(number) < tonumber(held[2]) then
      return 'behind'
    end
  end
  -- Only here: a server without memory takes any write of a script that began with this one.
  redis.call('DEL', s, l, c)
end
local idle, ends = take(), now_ms() + take()
redis.call('HSET', s, 'owner', owner, 'number', number, 'idle', idle, 'end', whole(ends))
-- For who watches: nothing rests on it.
redis.call('HSET', s, 'opened', whole(now_ms()))
redis.call('HSET', s, 'seq', take(), 'floor', take(), 'spans', take(), 'fence', take())
set_all(s)
append(s, l)
set_all(c)
touch(s, l, c)
return 'done'
