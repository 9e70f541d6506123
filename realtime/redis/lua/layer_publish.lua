#!lua flags=allow-oom
-- Publish many messages in order, with one reply for all. It touches no keys.
local first_message = 1  -- from there on, for each: channel, message

for i = first_message, #ARGV, 2 do
    redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
end
