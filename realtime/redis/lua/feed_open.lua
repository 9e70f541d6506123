#!lua
-- A feed's position; a feed without one gets the epoch given.
-- KEYS: meta, log, ids, ids:old    ARGV: epoch to begin with, meta seconds
-- Answers {epoch, offset, id of the last entry}
if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1]) == 1 then
    redis.call('HSET', KEYS[1], 'offset', 0, 'id', '')
    redis.call('DEL', KEYS[2])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'id')
