-- Takes from a bucket of a rate limit. KEYS: when the bucket will be full, in microseconds. ARGV: time
-- in which one message comes back, time in which an empty bucket fills, how many are taken. Returns
-- how long to wait, in microseconds as text; 0 when they were taken. The rule: session/bucket.rs.

local each, fill, count = tonumber(take()), tonumber(take()), tonumber(take())
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function keep(full_at)
  redis.call('SET', KEYS[1], whole(full_at), 'PX', whole(math.ceil((full_at - now) / 1000)))
end
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if held > now + fill then
  -- Of another clock or other settings: it fills from here on, whether or not any are taken.
  held = now + fill
  keep(held)
end
local full_at = math.max(held, now) + each * count
local wait = full_at - fill - now
if wait > 0 then
  return whole(wait)
end
keep(full_at)
return '0'
