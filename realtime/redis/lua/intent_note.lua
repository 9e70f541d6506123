#!lua
-- Note an entry that is to be added once something else has happened.
-- KEYS: intents, due, mark of the id's entry    ARGV: id, content, milliseconds until others may finish it, most intents
-- Answers 0: noted; 1: it was noted before, whose content stays; 2: the entry has been added already;
-- 3: there are as many as there may be, and it isn't one of them.
if redis.call('EXISTS', KEYS[3]) == 1 then return 2 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 3 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local is_new = redis.call('HSETNX', KEYS[1], ARGV[1], string.format('%.0f:', now) .. ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
return 1 - is_new
