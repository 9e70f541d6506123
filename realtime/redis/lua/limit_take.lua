#!lua
-- Take one token from a bucket, stored as the moment at which it will be full again (Unix milliseconds).
-- Returns 0, or the milliseconds until there is a token.
local bucket = KEYS[1]
local tokens_per_second, max_tokens = tonumber(ARGV[1]), tonumber(ARGV[2])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local ms_per_token = 1000 / tokens_per_second
local ms_of_all = max_tokens * ms_per_token
local full_at = math.max(tonumber(redis.call('GET', bucket) or 0), now)
local wait = full_at + ms_per_token - (now + ms_of_all)
if wait > 0.5 then return math.ceil(wait) end
full_at = math.min(full_at + ms_per_token, now + ms_of_all)
redis.call('SET', bucket, string.format('%.3f', full_at), 'PX', math.ceil(full_at - now) + 1000)
return 0
