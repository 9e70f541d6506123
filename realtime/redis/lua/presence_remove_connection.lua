-- Remove a user's connection; `own` is the key of the user's connections. Needs presence_write_status.
-- The last write, to `connections`, says that the removal has been counted.
local function remove_connection(connections, online, own, status, connection, user, now, status_seconds)
    redis.call('ZREM', own, connection)
    if tonumber(redis.call('HGET', online, user) or 0) > 1 then
        redis.call('HSET', status, 'last_seen', now)
        redis.call('HINCRBY', online, user, -1)
    else
        write_status(status, 'false', 'last_offline_at', now, status_seconds)
        redis.call('HDEL', online, user)
    end
    redis.call('HDEL', connections, connection)
end
