#!lua
-- Remove some connections of a node that is gone; with the last of them, the node.
-- Returns how many connections are left.
-- Keys made here, since the users are known from `connections` only: <own_prefix><user>, <status_prefix><user>.
local nodes, connections, online = KEYS[1], KEYS[2], KEYS[3]
local node, max_removed, status_seconds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]) * 86400  -- ARGV[3]: days
local even_alive = ARGV[4] == '1'  -- remove it though its lease has not ended
local own_prefix, status_prefix = ARGV[5], ARGV[6]

--@include presence_write_status
--@include presence_remove_connection

local now = tonumber(redis.call('TIME')[1])
local lease = redis.call('ZSCORE', nodes, node)
if not even_alive and lease and tonumber(lease) > now then return 0 end
local removed = redis.call('HRANDFIELD', connections, max_removed, 'WITHVALUES')
for i = 1, #removed, 2 do
    local connection, user = removed[i], removed[i + 1]
    local own, status = own_prefix .. user, status_prefix .. user
    remove_connection(connections, online, own, status, connection, user, now, status_seconds)
end
local left = redis.call('HLEN', connections)
if left == 0 then redis.call('ZREM', nodes, node) end
return left
