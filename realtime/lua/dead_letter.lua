#!lua
-- Write an entry's dead letter, once, whoever tries.
-- KEYS: cursor, dead letters    ARGV: stream entry id, longest length, then the fields
-- Answers 1, or 0 if it was written before.
--@include above

local dead = redis.call('HGET', KEYS[1], 'dead')
if dead and not above(ARGV[1], dead) then return 0 end
redis.call('HSET', KEYS[1], 'dead', ARGV[1])
local fields = {}
for i = 3, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(fields))
return 1
