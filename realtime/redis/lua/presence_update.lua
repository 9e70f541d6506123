#!lua
-- Write which connections of one node opened or closed; renew the node's lease.
-- Returns how many connections the node has now, the mark of the write before this one, then the oldest connections of
-- users that have too many. The mark shows the node whether Redis still has what the node wrote last.
-- `connections` says that a change has been counted, so it is written last. All before the count can be repeated.
local nodes, connections, online, mark = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local first_user_key = 5  -- from there on, in KEYS, for each change: the user's connections, the user's status
local node, lease_seconds, status_seconds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]) * 86400  -- ARGV[3]: days
local max_connections = tonumber(ARGV[4])  -- of one user; 0: any number
local new_mark = ARGV[5]
local first_change = 6  -- from there on, for each change: '+' or '-', connection, user

--@include presence_write_status
--@include presence_remove_connection

local time = redis.call('TIME')
local seconds, microseconds = tonumber(time[1]), tonumber(time[2])
local oldest = {}

local function add_connection(own, status, connection, user, number)
    if redis.call('HEXISTS', connections, connection) == 1 then return end
    redis.call('ZADD', own, seconds * 1000000 + microseconds + number, connection)
    redis.call('EXPIRE', own, 86400)
    write_status(status, 'true', 'last_online_at', seconds, status_seconds)
    redis.call('HINCRBY', online, user, 1)
    redis.call('HSET', connections, connection, user)
end

-- Collect a user's connections over the limit. A repeated change collects them again: the first reply may be lost.
local function collect_excess(own)
    local excess = max_connections > 0 and redis.call('ZCARD', own) - max_connections or 0
    if excess <= 0 then return end
    for _, connection in ipairs(redis.call('ZRANGE', own, 0, excess - 1)) do oldest[#oldest + 1] = connection end
end

-- The node comes first: connections of a node that is not in `nodes` would never be removed.
redis.call('ZADD', nodes, seconds + microseconds / 1000000 + lease_seconds, node)
local user_key = first_user_key
for i = first_change, #ARGV, 3 do
    local change, connection, user = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local own, status = KEYS[user_key], KEYS[user_key + 1]
    if change == '+' then
        add_connection(own, status, connection, user, i)
        collect_excess(own)
    elseif redis.call('HEXISTS', connections, connection) == 1 then
        remove_connection(connections, online, own, status, connection, user, seconds, status_seconds)
    end
    user_key = user_key + 2
end
local reply = {redis.call('HLEN', connections), redis.call('GET', mark) or ''}
redis.call('SET', mark, new_mark, 'EX', 86400)
for _, connection in ipairs(oldest) do reply[#reply + 1] = connection end
return reply
