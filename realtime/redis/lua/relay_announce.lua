#!lua
-- Say that a relay serves a topic, and who else does.
-- KEYS: roster    ARGV: the relay, seconds for which its word holds
-- Answers the names of the relays whose word holds.
local now = redis.call('TIME')
local seconds = tonumber(now[1]) + tonumber(now[2]) / 1000000
redis.call('ZADD', KEYS[1], seconds + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. seconds)
redis.call('EXPIRE', KEYS[1], 3600)
return redis.call('ZRANGE', KEYS[1], 0, -1)
