#!lua
-- Write an entry's dead letter, once, whoever tries.
-- KEYS: cursor, dead letters, topics that have any    ARGV: stream entry id, longest length, topic, then the fields
-- Answers 1, or 0 if it was written before.
--@include stream_id_after

local dead = redis.call('HGET', KEYS[1], 'dead')
if dead and not above(ARGV[1], dead) then return 0 end
redis.call('HSET', KEYS[1], 'dead', ARGV[1])
local fields = {}
for i = 4, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(fields))
redis.call('SADD', KEYS[3], ARGV[3])
return 1
