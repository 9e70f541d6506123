#!lua
-- Take a lease, or keep it.
-- KEYS: lease, token    ARGV: who asks, milliseconds
-- Answers the lease's token, which grows with each new holder, or 0 if another holds it.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return tonumber(redis.call('GET', KEYS[2]))
end
if holder then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('INCR', KEYS[2])
