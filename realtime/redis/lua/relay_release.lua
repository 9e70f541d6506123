#!lua
-- Give the lease of a topic back.
local lease = KEYS[1]
local relay = ARGV[1]

if redis.call('GET', lease) == relay then return redis.call('DEL', lease) end
return 0
