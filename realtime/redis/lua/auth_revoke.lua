#!lua
-- Copy revocations from the database; of two for the same tokens the later times stay. The version comes last.
-- Returns 0 if the copy is not complete up to the number before: then all have to be copied.
local revocations, version, news = KEYS[1], KEYS[2], KEYS[3]
local new_version = ARGV[1]  -- a number, a colon and an id never used before; empty: more calls follow for the same copy
local number_before = ARGV[2]  -- the number that the copy has to have; empty: whichever, all revocations are copied
local first_revocation = 3  -- from there on, for each: whose tokens, issued until, kept until (Unix seconds)
local news_kept = 100

local is_next = number_before ~= ''
if is_next and (redis.call('GET', version) or ''):match('^(%d+):') ~= number_before then
    return 0
end
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
    if is_next then
        redis.call('LPUSH', news, new_version .. ' ' .. times .. ' ' .. whose)
    end
end
if is_next then
    redis.call('LTRIM', news, 0, news_kept - 1)
else
    redis.call('DEL', news)
end
if new_version ~= '' then
    redis.call('SET', version, new_version)
end
return 1
