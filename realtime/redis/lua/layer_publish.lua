#!lua
-- Publish many messages in order, one answer for all.
-- ARGV: channel, message, channel, message, …
for i = 1, #ARGV, 2 do
    redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
end
