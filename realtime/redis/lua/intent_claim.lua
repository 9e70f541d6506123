#!lua
-- Take over intents whose time has come; each time an intent is taken over, the next is twice as far away.
-- KEYS: intents, due    ARGV: at most so many, milliseconds until others may take them over at least
-- Answers, for each: id, content, milliseconds since it was noted.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claimed = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])) do
    local noted = redis.call('HGET', KEYS[1], id)
    if noted then
        local colon = noted:find(':', 1, true)
        local age = math.max(0, now - tonumber(noted:sub(1, colon - 1)))
        redis.call('ZADD', KEYS[2], string.format('%.0f', now + math.max(age, ARGV[2])), id)
        claimed[#claimed + 1] = {id, noted:sub(colon + 1), age}
    else
        redis.call('ZREM', KEYS[2], id)
    end
end
return claimed
