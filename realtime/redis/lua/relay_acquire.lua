#!lua
-- Take the lease of a topic, or keep it.
-- Returns the lease's token, 0 if another relay holds it. The token grows with each new holder and is at or above that
-- of every commit, also where the token was lost and an earlier holder has committed since.
-- The token is written first: a lease without its new token would go on with the token of the holder before.
local lease, last_token, cursor = KEYS[1], KEYS[2], KEYS[3]
local relay, lease_ms = ARGV[1], tonumber(ARGV[2])

local holder = redis.call('GET', lease)
local token = tonumber(redis.call('GET', last_token) or 0)
local committed = tonumber(redis.call('HGET', cursor, 'token') or 0)
if holder == relay and token >= committed then
    redis.call('PEXPIRE', lease, lease_ms)
    return token
end
if holder and holder ~= relay then return 0 end
token = math.max(token, committed) + 1
redis.call('SET', last_token, token)
redis.call('SET', lease, relay, 'PX', lease_ms)
return token
