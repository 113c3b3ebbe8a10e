-- Makes a replica the owner, and gives it everything that is known.
-- KEYS: s l c. ARGV: whom it is claimed from or nothing, the replica, number, places of one
-- owner, the most former owners that are remembered.

local s, l, c = KEYS[1], KEYS[2], KEYS[3]
local from, by, number, span, most = take(), take(), take(), take(), tonumber(take())
local held = redis.call('HMGET', s, 'owner', 'fence', 'seq', 'spans', 'number')
local owner, fence = held[1], held[2]
if not owner then
  return { 'unknown' }
end
if owner ~= fence .. ' ' .. by or held[5] ~= number then
  if owner ~= '' and owner ~= from then
    return { 'other', owner }
  end
  local spans = held[4] .. fence .. ':' .. held[3] .. ','
  local _, count = string.gsub(spans, ',', ',')
  if count > most then
    spans = string.gsub(spans, '^[^,]*,', '')
  end
  fence = whole(fence + 1)
  owner = fence .. ' ' .. by
  redis.call('HSET', s, 'owner', owner, 'fence', fence, 'seq', whole(fence * span))
  redis.call('HSET', s, 'spans', spans, 'number', number)
  touch(s, l, c)
end
local log, calls = redis.call('XRANGE', l, '-', '+'), redis.call('HGETALL', c)
local left = math.max(redis.call('HGET', s, 'end') - now_ms(), 0)
return { 'taken', owner, redis.call('HGETALL', s), log, calls, whole(left) }
