#!lua
-- Return a log's entries after an offset. A feed without a position begins the epoch given.
-- Returns {epoch, offset, id of the last entry, offset of the first entry returned, entry at `after` or '', {entries}}.
local meta, log = KEYS[1], KEYS[2]
local new_epoch, meta_seconds = ARGV[1], tonumber(ARGV[2])
local after, max_entries = tonumber(ARGV[3]), tonumber(ARGV[4])  -- after: an offset

--@include feed_begin

local position = redis.call('HMGET', meta, 'epoch', 'offset', 'id')
if not position[1] then
    feed_begin(meta, log, new_epoch, meta_seconds)
    position = {new_epoch, '0', ''}
end
local oldest = tonumber(position[2]) - redis.call('LLEN', log) + 1
local first = math.max(after + 1, oldest)
local at_after = after >= oldest and redis.call('LINDEX', log, after - oldest) or ''
local entries = redis.call('LRANGE', log, first - oldest, first - oldest + max_entries - 1)
return {position[1], position[2], position[3], first, at_after, entries}
