#!lua
-- Whoever works on these intents still does: nobody else may finish them for a while.
-- KEYS: due    ARGV: milliseconds, ids
local time = redis.call('TIME')
local due = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', due, ARGV[i]) end
return 1
