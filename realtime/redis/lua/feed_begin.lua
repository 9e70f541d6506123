-- Begin an epoch of a feed, with an empty log at offset 0. The log is emptied first: an entry of another epoch must
-- never be read in this one.
local function feed_begin(meta, log, epoch, meta_seconds)
    redis.call('LTRIM', log, 1, 0)
    redis.call('HSET', meta, 'epoch', epoch, 'offset', 0, 'id', '', 'bytes', 0)
    redis.call('EXPIRE', meta, meta_seconds)
end
