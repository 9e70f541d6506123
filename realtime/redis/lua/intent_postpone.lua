#!lua
-- Keep intents that are being worked on from being claimed for a while.
local due = KEYS[1]
local lease_ms = tonumber(ARGV[1])
local first_id = 2  -- from there on: ids

local time = redis.call('TIME')
local until_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + lease_ms)
for i = first_id, #ARGV do redis.call('ZADD', due, 'XX', until_ms, ARGV[i]) end
return 1
