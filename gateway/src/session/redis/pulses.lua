-- The last words of the replicas that live. KEYS: replicas by their last beat, their words. ARGV:
-- how long a beat lasts, the one that is asked for or nothing.

local since, only = now_ms() - take(), take()
local words = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(since), '+inf')) do
  if only == '' or only == name then
    words[#words + 1] = redis.call('HGET', KEYS[2], name)
  end
end
return words
