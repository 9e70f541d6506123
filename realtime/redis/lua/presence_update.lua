#!lua
-- Connections of one node that opened or closed; renews the node's lease.
-- KEYS: nodes, this node's connections, online users
-- ARGV: node, lease seconds, days that a status is kept, most connections of a user (0: any number),
--       prefix of a user's connections, prefix of a user's status, then for each change: '+' or '-', connection id, user id
-- Answers how many connections the node has now, then the oldest connections of users that have too many.
local nodes, connections, online = KEYS[1], KEYS[2], KEYS[3]
local own_prefix, status_prefix = ARGV[5], ARGV[6]
local now = redis.call('TIME')
local seconds = now[1]
redis.call('ZADD', nodes, tonumber(now[1]) + tonumber(now[2]) / 1000000 + tonumber(ARGV[2]), ARGV[1])

local function status(user, field, is_online)
    local key = status_prefix .. user
    redis.call('HSET', key, 'is_online', is_online, 'last_seen', seconds, field, seconds)
    redis.call('EXPIRE', key, tonumber(ARGV[3]) * 86400)
end

local most, oldest = tonumber(ARGV[4]), {}
for i = 7, #ARGV, 3 do
    local change, connection, user = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if change == '+' then
        if redis.call('HSETNX', connections, connection, user) == 1 then
            redis.call('HINCRBY', online, user, 1)
            status(user, 'last_online_at', 'true')
            local own = own_prefix .. user
            redis.call('ZADD', own, tonumber(now[1]) * 1000000 + tonumber(now[2]) + i, connection)
            redis.call('EXPIRE', own, 86400)
            local over = most > 0 and redis.call('ZCARD', own) - most or 0
            if over > 0 then
                for _, id in ipairs(redis.call('ZRANGE', own, 0, over - 1)) do oldest[#oldest + 1] = id end
            end
        end
    elseif redis.call('HDEL', connections, connection) == 1 then
        redis.call('ZREM', own_prefix .. user, connection)
        if redis.call('HINCRBY', online, user, -1) <= 0 then
            redis.call('HDEL', online, user)
            status(user, 'last_offline_at', 'false')
        else
            redis.call('HSET', status_prefix .. user, 'last_seen', seconds)
        end
    end
end
return {redis.call('HLEN', connections), unpack(oldest)}
