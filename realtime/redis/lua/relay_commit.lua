#!lua
-- Move a topic's cursor, and the consumer group that shows it, unless a later lease has taken over.
-- KEYS: cursor, stream
-- ARGV: token of the lease, stream entry id, entries since where the batch began, consumer group, where the batch began
-- Answers 1, or 0 if a later lease has committed.
--@include stream_id_after

local token = tonumber(redis.call('HGET', KEYS[1], 'token') or 0)
if token > tonumber(ARGV[1]) then return 0 end
local id = redis.call('HGET', KEYS[1], 'id')
if id and not above(ARGV[2], id) then return 1 end
local count = ARGV[3]
if id and id ~= ARGV[5] then  -- another worker got part of the way
    count = #redis.call('XRANGE', KEYS[2], '(' .. id, ARGV[2])
end
local read = redis.call('HINCRBY', KEYS[1], 'read', count)
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'id', ARGV[2])
local moved = redis.pcall('XGROUP', 'SETID', KEYS[2], ARGV[4], ARGV[2], 'ENTRIESREAD', read)
if moved.err then
    redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[4], ARGV[2], 'MKSTREAM', 'ENTRIESREAD', read)
end
return 1
