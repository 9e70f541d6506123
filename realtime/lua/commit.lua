#!lua
-- Move a topic's cursor, and the consumer group that shows it, unless a later lease has taken over.
-- KEYS: cursor, stream    ARGV: token of the lease, stream entry id, entries since the last commit, consumer group
-- Answers 1, or 0 if a later lease has committed.
--@include above

local token = tonumber(redis.call('HGET', KEYS[1], 'token') or 0)
if token > tonumber(ARGV[1]) then return 0 end
local id = redis.call('HGET', KEYS[1], 'id')
if id and not above(ARGV[2], id) then return 1 end
local read = redis.call('HINCRBY', KEYS[1], 'read', ARGV[3])
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'id', ARGV[2])
local moved = redis.pcall('XGROUP', 'SETID', KEYS[2], ARGV[4], ARGV[2], 'ENTRIESREAD', read)
if moved.err then
    redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[4], ARGV[2], 'MKSTREAM', 'ENTRIESREAD', read)
end
return 1
