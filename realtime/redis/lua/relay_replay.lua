#!lua
-- Put a dead letter back on its topic, once, whoever tries.
-- KEYS: dead letters, topic    ARGV: id of the dead letter, then the fields of the entry
-- Answers the new entry's id, or nil if the dead letter is gone.
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return nil end
local fields = {}
for i = 2, #ARGV do fields[#fields + 1] = ARGV[i] end
return redis.call('XADD', KEYS[2], '*', unpack(fields))
