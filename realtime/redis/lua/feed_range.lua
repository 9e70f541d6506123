#!lua
-- The entries after an offset up to another: all of them or none.
-- KEYS: meta, log    ARGV: epoch, offset, offset of the last, most entries, most bytes
-- Answers {entries}, or nil if the log can't give them all.
local after, upto, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local position = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
if position[1] ~= ARGV[1] then return nil end
local top = tonumber(position[2])
local first = top - redis.call('LLEN', KEYS[2]) + 1
if after > top then return nil end
if upto <= after then return {} end
if upto > top or after + 1 < first or upto - after > most then return nil end
local entries = redis.call('LRANGE', KEYS[2], after + 1 - first, upto - first)
local bytes = 0
for _, entry in ipairs(entries) do bytes = bytes + #entry end
if bytes > tonumber(ARGV[5]) then return nil end
return entries
