#!lua
-- Remove some connections of a node that is gone; with the last of them, the node.
-- Returns how many connections are left.
local nodes, connections, online = KEYS[1], KEYS[2], KEYS[3]
local first_user_key = 4  -- from there on, in KEYS, for each connection: the user's connections, the user's status
local node, status_seconds = ARGV[1], tonumber(ARGV[2]) * 86400  -- ARGV[2]: days
local even_alive = ARGV[3] == '1'  -- remove it though its lease has not ended
local first_connection = 4  -- from there on, for each: connection, user, as the caller read them from `connections`

--@include presence_write_status
--@include presence_remove_connection

local now = tonumber(redis.call('TIME')[1])
local lease = redis.call('ZSCORE', nodes, node)
if not even_alive and lease and tonumber(lease) > now then return 0 end
local user_key = first_user_key
for i = first_connection, #ARGV, 2 do
    local connection, user = ARGV[i], ARGV[i + 1]
    local own, status = KEYS[user_key], KEYS[user_key + 1]
    if redis.call('HGET', connections, connection) == user then  -- else it has been removed meanwhile
        remove_connection(connections, online, own, status, connection, user, now, status_seconds)
    end
    user_key = user_key + 2
end
local left = redis.call('HLEN', connections)
if left == 0 then redis.call('ZREM', nodes, node) end
return left
