#!lua
-- Begin a new epoch if the one given is still the present one: the log went back in time.
-- KEYS: meta, log, ids, ids:old    ARGV: epoch that was seen, new epoch, meta seconds
-- Answers {epoch, offset, id of the last entry}
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
    redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'offset', 0, 'id', '', 'bytes', 0)
    redis.call('DEL', KEYS[2])
    redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'id')
