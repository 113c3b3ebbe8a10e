-- A replica ends. KEYS: replicas by their last beat, their words. ARGV: name.

local name = take()
redis.call('ZREM', KEYS[1], name)
redis.call('HDEL', KEYS[2], name)
return 'done'
