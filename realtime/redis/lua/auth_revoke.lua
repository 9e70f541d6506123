#!lua
-- Copy revocations from the database; of two for the same tokens the later times stay. The version comes last.
local revocations, version = KEYS[1], KEYS[2]
local new_version = ARGV[1]  -- never used before; empty: more calls follow for the same copy
local first_revocation = 2  -- from there on, for each: whose tokens, issued until, kept until (Unix seconds)

for i = first_revocation, #ARGV, 3 do
    local whose, issued_until, kept_until = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local before = redis.call('HGET', revocations, whose)
    if before then
        local issued_before, kept_before = before:match('^(%d+) (%d+)$')
        if tonumber(issued_before) > tonumber(issued_until) then issued_until = issued_before end
        if tonumber(kept_before) > tonumber(kept_until) then kept_until = kept_before end
    end
    local times = issued_until .. ' ' .. kept_until
    if times ~= before then
        redis.call('HSET', revocations, whose, times)
    end
end
if new_version ~= '' then
    redis.call('SET', version, new_version)
end
