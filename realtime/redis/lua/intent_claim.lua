#!lua
-- Take over intents that are due. Each time that one is taken over, it is due again after twice as long.
-- Returns, for each: id, content, milliseconds since it was noted.
local intents, due = KEYS[1], KEYS[2]
local max_claimed, lease_ms = tonumber(ARGV[1]), tonumber(ARGV[2])  -- lease_ms: until others may take it over, at least

--@include redis_call

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', due, '-inf', string.format('%.0f', now), 'LIMIT', 0, max_claimed)
if #ids == 0 then return {} end
local noted = call_chunked('HMGET', intents, ids)
local claimed = {}
for i, id in ipairs(ids) do
    if noted[i] then
        local colon = noted[i]:find(':', 1, true)
        local age = math.max(0, now - tonumber(noted[i]:sub(1, colon - 1)))
        redis.call('ZADD', due, string.format('%.0f', now + math.max(age, lease_ms)), id)
        claimed[#claimed + 1] = {id, noted[i]:sub(colon + 1), age}
    else
        redis.call('ZREM', due, id)
    end
end
return claimed
