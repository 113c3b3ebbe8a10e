-- What all scripts share; put before each of them.
--
-- Times are milliseconds of the Unix era by the server's own clock. Places in a log are compared
-- as the text they came as, because a number of Lua is written with an exponent from 10^14 on.
--
-- A session has three keys in one slot: s, a hash (record, owner, caps); l, a stream (its log);
-- c, a hash (calls in flight).

local at = 0

-- The next argument.
local function take()
  at = at + 1
  return ARGV[at]
end

local function whole(number)
  return string.format('%.0f', number)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether who has this fence, or none, came before the owner: it was quicker to restore what the
-- server forgot.
local function is_earlier(fence, owner)
  return fence and tonumber(fence) < tonumber(string.match(owner, '^%d+'))
end

-- The idle time starts anew, within the absolute end.
local function touch(s, l, c)
  local life = redis.call('HMGET', s, 'idle', 'end')
  local ends = whole(math.min(now_ms() + life[1], tonumber(life[2])))
  redis.call('PEXPIREAT', s, ends)
  redis.call('PEXPIREAT', l, ends)
  redis.call('PEXPIREAT', c, ends)
end

-- Adds the events of the arguments and pushes out the oldest beyond the caps; the newest stays.
-- With `known`, they are there already.
local function append(s, l, known)
  local most, most_bytes, count = tonumber(take()), tonumber(take()), tonumber(take())
  local bytes = tonumber(redis.call('HGET', s, 'bytes') or '0')
  for _ = 1, count do
    local seq, stream, text = take(), take(), take()
    if not known then
      redis.call('XADD', l, seq .. '-0', 's', stream, 'd', text)
      bytes = bytes + #text
    end
  end
  if known or count == 0 then
    return
  end
  local length = redis.call('XLEN', l)
  while length > 1 and (length > most or bytes > most_bytes) do
    local oldest = redis.call('XRANGE', l, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', l, oldest[1])
    redis.call('HSET', s, 'floor', string.match(oldest[1], '^%d+'))
    bytes = bytes - #oldest[2][4]
    length = length - 1
  end
  redis.call('HSET', s, 'bytes', whole(bytes))
end

-- Sets pairs of the arguments in a hash.
local function set_all(key)
  for _ = 1, tonumber(take()) do
    local field, value = take(), take()
    redis.call('HSET', key, field, value)
  end
end

-- Takes fields of the arguments out of a hash.
local function drop_all(key)
  for _ = 1, tonumber(take()) do
    redis.call('HDEL', key, take())
  end
end
