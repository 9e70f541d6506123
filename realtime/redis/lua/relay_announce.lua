#!lua
-- Announce that a relay serves a topic. Returns the names of all relays that do.
local relays = KEYS[1]
local relay, valid_seconds = ARGV[1], tonumber(ARGV[2])  -- valid_seconds: how long the announcement counts

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
redis.call('ZADD', relays, now + valid_seconds, relay)
redis.call('ZREMRANGEBYSCORE', relays, '-inf', '(' .. now)
redis.call('EXPIRE', relays, 3600)
return redis.call('ZRANGE', relays, 0, -1)
