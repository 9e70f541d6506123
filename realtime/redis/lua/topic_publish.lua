#!lua
-- Write entries to their streams, all or none, if the lease is still ours.
-- KEYS: lease, then the streams    ARGV: who we are, then for each entry: number of its stream among KEYS, count of its
-- fields' names and values, those
-- Answers 1, or 0 if another holds the lease or nobody does.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local i = 2
while i <= #ARGV do
    local stream, count = KEYS[tonumber(ARGV[i])], tonumber(ARGV[i + 1])
    local fields = {}
    for j = i + 2, i + 1 + count do fields[#fields + 1] = ARGV[j] end
    redis.call('XADD', stream, '*', unpack(fields))
    i = i + 2 + count
end
return 1
