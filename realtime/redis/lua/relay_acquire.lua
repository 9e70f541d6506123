#!lua
-- Take a lease, or keep it.
-- KEYS: lease, token, cursor    ARGV: who asks, milliseconds
-- Answers the lease's token, which grows with each new holder and lies at or above that of every commit, also where the
-- token was lost and a holder from before has committed since; 0 if another holds it.
local holder = redis.call('GET', KEYS[1])
local token = tonumber(redis.call('GET', KEYS[2]) or 0)
local committed = tonumber(redis.call('HGET', KEYS[3], 'token') or 0)
if holder == ARGV[1] and token >= committed then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return token
end
if holder and holder ~= ARGV[1] then return 0 end
token = math.max(token, committed) + 1
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], token)
return token
