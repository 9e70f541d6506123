#!lua
-- Return a feed's position: {epoch, offset, id of the last entry}. A feed without one begins the epoch given.
local meta, log = KEYS[1], KEYS[2]
local new_epoch, meta_seconds = ARGV[1], tonumber(ARGV[2])

--@include feed_begin

local position = redis.call('HMGET', meta, 'epoch', 'offset', 'id')
if not position[1] then
    feed_begin(meta, log, new_epoch, meta_seconds)
    return {new_epoch, '0', ''}
end
redis.call('EXPIRE', meta, meta_seconds)
return position
