#!lua
-- Copy revocations from the database; of two for the same tokens the later one stands.
-- KEYS: revocations, their version
-- ARGV: a version never used before, then for each whose tokens, issued until, kept until (Unix seconds)
for i = 2, #ARGV, 3 do
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  if not before or tonumber(before:match('^%d+')) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
  end
end
redis.call('SET', KEYS[2], ARGV[1])
