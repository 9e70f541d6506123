#!lua
-- Copy revocations from the database; of two for the same tokens the later one stays. The version comes last.
local revocations, version = KEYS[1], KEYS[2]
local new_version = ARGV[1]  -- never used before
local first_revocation = 2  -- from there on, for each: whose tokens, issued until, kept until (Unix seconds)

for i = first_revocation, #ARGV, 3 do
    local whose, issued_until, kept_until = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local before = redis.call('HGET', revocations, whose)
    if not before or tonumber(before:match('^%d+')) < tonumber(issued_until) then
        redis.call('HSET', revocations, whose, issued_until .. ' ' .. kept_until)
    end
end
redis.call('SET', version, new_version)
