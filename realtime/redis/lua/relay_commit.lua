#!lua
-- Move a topic's cursor, and the consumer group that shows it, unless a later lease has committed.
-- Returns 1, or 0 if a later lease has committed.
local cursor, stream = KEYS[1], KEYS[2]
local token, entry_id, count = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])  -- count: entries from since to entry_id
local group, since = ARGV[4], ARGV[5]  -- since: the cursor as this relay knew it

--@include stream_id_after

local stored = redis.call('HMGET', cursor, 'token', 'id', 'read')
local stored_token, stored_id, read = tonumber(stored[1] or 0), stored[2], tonumber(stored[3] or 0)
if stored_token > token then return 0 end
if stored_id and not stream_id_after(entry_id, stored_id) then return 1 end
if stored_id and stored_id ~= since then  -- another relay got part of the way
    count = #redis.call('XRANGE', stream, '(' .. stored_id, entry_id)
end
read = string.format('%.0f', read + count)
redis.call('HSET', cursor, 'token', token, 'id', entry_id, 'read', read)
local moved = redis.pcall('XGROUP', 'SETID', stream, group, entry_id, 'ENTRIESREAD', read)
if moved.err then
    redis.pcall('XGROUP', 'CREATE', stream, group, entry_id, 'MKSTREAM', 'ENTRIESREAD', read)
end
return 1
