#!lua
-- What a log holds after an offset.
-- KEYS: meta, log, ids, ids:old    ARGV: epoch to begin with, meta seconds, offset, most entries
-- Answers {epoch, offset, id of the last entry, offset of the first entry below, entry at the offset asked for or '', {entries}}
if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1]) == 1 then
    redis.call('HSET', KEYS[1], 'offset', 0, 'id', '')
    redis.call('EXPIRE', KEYS[1], ARGV[2])
    redis.call('DEL', KEYS[2])
end
local after, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local position = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'id')
local first = tonumber(position[2]) - redis.call('LLEN', KEYS[2]) + 1
local from = math.max(after + 1, first)
local at = after >= first and redis.call('LINDEX', KEYS[2], after - first) or ''
local entries = redis.call('LRANGE', KEYS[2], from - first, from - first + most - 1)
return {position[1], position[2], position[3], from, at or '', entries}
