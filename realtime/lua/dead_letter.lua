#!lua
-- Write an entry's dead letter, once, whoever tries.
-- KEYS: cursor, dead letters    ARGV: stream entry id, longest length, then the fields
-- Answers 1, or 0 if it was written before.
local function above(a, b)
    local a_ms, a_seq = a:match('^(%d+)-(%d+)$')
    local b_ms, b_seq = b:match('^(%d+)-(%d+)$')
    if a_ms ~= b_ms then
        return #a_ms > #b_ms or (#a_ms == #b_ms and a_ms > b_ms)
    end
    return #a_seq > #b_seq or (#a_seq == #b_seq and a_seq > b_seq)
end

local dead = redis.call('HGET', KEYS[1], 'dead')
if dead and not above(ARGV[1], dead) then return 0 end
redis.call('HSET', KEYS[1], 'dead', ARGV[1])
local fields = {}
for i = 3, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(fields))
return 1
