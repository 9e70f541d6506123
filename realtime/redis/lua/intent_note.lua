#!lua
-- Note an entry that is to be added once something else has happened.
-- Returns 0: noted; 1: it was noted before, and its content stays; 2: the entry has been added already;
-- 3: max_intents are noted, or they take max_bytes, and it is not one of them.
-- The due time is written first: without its intent it is dropped when claimed; an intent without one is never claimed.
local intents, due, mark = KEYS[1], KEYS[2], KEYS[3]  -- mark: exists once the entry has been added
local id, content = ARGV[1], ARGV[2]
local lease_ms, max_intents = tonumber(ARGV[3]), tonumber(ARGV[4])  -- lease_ms: until others may finish it
local max_bytes = tonumber(ARGV[5])

local function is_full()
    if redis.call('HLEN', intents) >= max_intents then return true end
    local bytes = redis.pcall('MEMORY', 'USAGE', intents, 'SAMPLES', 50)  -- an estimate; not every offer has it
    return type(bytes) == 'number' and bytes >= max_bytes
end

if redis.call('EXISTS', mark) == 1 then return 2 end
if is_full() and redis.call('HEXISTS', intents, id) == 0 then return 3 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', due, string.format('%.0f', now + lease_ms), id)
local is_new = redis.call('HSETNX', intents, id, string.format('%.0f:', now) .. content)
return 1 - is_new
