#!lua
-- Add an entry to its stream, unless that was done, and forget its intent.
-- KEYS: stream, intents, due, mark of the id's entry    ARGV: id, seconds that the mark stays, the entry's names and values
-- Answers 1: added; 0: it had been.
local is_new = redis.call('EXISTS', KEYS[4]) == 0
if is_new then
    local fields = {}
    for i = 3, #ARGV do fields[#fields + 1] = ARGV[i] end
    redis.call('XADD', KEYS[1], '*', unpack(fields))
    redis.call('SET', KEYS[4], '', 'EX', ARGV[2])
end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return is_new and 1 or 0
