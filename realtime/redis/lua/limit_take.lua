#!lua
-- One token of a bucket that is kept as the moment at which it will be full again.
-- KEYS: bucket    ARGV: tokens a second, most tokens
-- Answers 0, or the milliseconds until there is a token.
local now = redis.call('TIME')
local at = tonumber(now[1]) * 1000 + tonumber(now[2]) / 1000
local each, burst = 1000 / tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), at)
local wait = full + each - (at + burst * each)
if wait > 0.5 then return math.ceil(wait) end
full = math.min(full + each, at + burst * each)
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - at) + 1000)
return 0
