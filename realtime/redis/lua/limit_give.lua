#!lua
-- Put tokens back into a bucket of `limit_take`.
local bucket = KEYS[1]
local tokens_per_second, tokens = tonumber(ARGV[1]), tonumber(ARGV[2])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local full_at = tonumber(redis.call('GET', bucket) or 0) - tokens * 1000 / tokens_per_second
if full_at > now then
  redis.call('SET', bucket, string.format('%.3f', full_at), 'PX', math.ceil(full_at - now) + 1000)
else
  redis.call('DEL', bucket)
end
