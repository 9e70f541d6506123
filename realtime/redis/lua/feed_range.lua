#!lua flags=no-writes
-- Return the log's entries after one offset up to another, or nil if the log cannot give them all within the limits.
local meta, log = KEYS[1], KEYS[2]
local epoch = ARGV[1]
local after, upto = tonumber(ARGV[2]), tonumber(ARGV[3])  -- offsets
local max_entries, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])

local position = redis.call('HMGET', meta, 'epoch', 'offset')
if position[1] ~= epoch then return nil end
local newest = tonumber(position[2])
local oldest = newest - redis.call('LLEN', log) + 1
if after > newest then return nil end
if upto <= after then return {} end
if upto > newest or after + 1 < oldest or upto - after > max_entries then return nil end
local entries = redis.call('LRANGE', log, after + 1 - oldest, upto - oldest)
local bytes = 0
for _, entry in ipairs(entries) do bytes = bytes + #entry end
if bytes > max_bytes then return nil end
return entries
