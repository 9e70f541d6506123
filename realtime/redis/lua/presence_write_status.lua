-- Write a user's status. `changed_field`: last_online_at or last_offline_at; times in Unix seconds.
local function write_status(status, is_online, changed_field, now, status_seconds)
    redis.call('HSET', status, 'is_online', is_online, 'last_seen', now, changed_field, now)
    redis.call('EXPIRE', status, status_seconds)
end
