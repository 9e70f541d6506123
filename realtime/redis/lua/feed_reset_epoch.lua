#!lua
-- Begin a new epoch if the one given is still the feed's: its log went back in time.
-- Returns {epoch, offset, id of the last entry}.
local meta, log = KEYS[1], KEYS[2]
local seen_epoch, new_epoch, meta_seconds = ARGV[1], ARGV[2], tonumber(ARGV[3])

--@include feed_begin

if redis.call('HGET', meta, 'epoch') == seen_epoch then feed_begin(meta, log, new_epoch, meta_seconds) end
return redis.call('HMGET', meta, 'epoch', 'offset', 'id')
