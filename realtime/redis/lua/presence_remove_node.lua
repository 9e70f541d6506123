#!lua
-- Some connections of a node that is gone, taken off; the node with the last of them.
-- KEYS: nodes, the node's connections, online users    ARGV: node, most connections, days that a status is kept, 1 to take a live one too,
--       prefix of a user's connections, prefix of a user's status
-- Answers how many connections are left.
local nodes, connections, online = KEYS[1], KEYS[2], KEYS[3]
local own_prefix, status_prefix = ARGV[5], ARGV[6]
local seconds = redis.call('TIME')[1]
local lease = redis.call('ZSCORE', nodes, ARGV[1])
if ARGV[4] ~= '1' and lease and tonumber(lease) > tonumber(seconds) then return 0 end
local taken = redis.call('HRANDFIELD', connections, ARGV[2], 'WITHVALUES')
for i = 1, #taken, 2 do
    local user = taken[i + 1]
    redis.call('HDEL', connections, taken[i])
    redis.call('ZREM', own_prefix .. user, taken[i])
    if redis.call('HINCRBY', online, user, -1) <= 0 then
        redis.call('HDEL', online, user)
        local key = status_prefix .. user
        redis.call('HSET', key, 'is_online', 'false', 'last_seen', seconds, 'last_offline_at', seconds)
        redis.call('EXPIRE', key, tonumber(ARGV[3]) * 86400)
    end
end
local left = redis.call('HLEN', connections)
if left == 0 then redis.call('ZREM', nodes, ARGV[1]) end
return left
