#!lua
-- Add an entry to its stream, unless that was done, and forget its intent.
-- Returns 1: added; 0: it had been added.
local stream, intents, due, mark = KEYS[1], KEYS[2], KEYS[3], KEYS[4]  -- mark: exists once the entry has been added
local id, mark_seconds = ARGV[1], tonumber(ARGV[2])
local first_field = 3  -- from there on: the entry's names and values

--@include stream_add

local is_new = redis.call('EXISTS', mark) == 0
if is_new then
    stream_add(stream, ARGV, first_field, #ARGV)
    redis.call('SET', mark, '', 'EX', mark_seconds)
end
redis.call('HDEL', intents, id)
redis.call('ZREM', due, id)
return is_new and 1 or 0
