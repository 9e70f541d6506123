#!lua
-- Write an entry's dead letter, once, however often it is tried.
-- Returns how many old letters were dropped for it, or -1 if it was written before.
-- The mark in the cursor comes after the letter. The set of topics comes first: it may name a topic without letters.
local cursor, letters, topics = KEYS[1], KEYS[2], KEYS[3]
local entry_id, max_letters, topic = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local first_field = 4  -- from there on: the letter's names and values

--@include stream_id_after
--@include stream_add

-- Return the letter's names and values. Those over the limit of one entry are packed into the field dlq_more_fields.
local function letter_fields()
    local last_kept = #ARGV
    if #ARGV - first_field + 1 > 2 * MAX_FIELDS then last_kept = first_field + 2 * MAX_FIELDS - 3 end
    local fields, packed = {}, {}
    for i = first_field, last_kept do fields[#fields + 1] = ARGV[i] end
    for i = last_kept + 1, #ARGV do packed[#packed + 1] = ARGV[i] end
    if #packed > 0 then
        fields[#fields + 1], fields[#fields + 2] = 'dlq_more_fields', cmsgpack.pack(packed)
    end
    return fields
end

local dead = redis.call('HGET', cursor, 'dead')
if dead and not stream_id_after(entry_id, dead) then return -1 end
local fields = letter_fields()
redis.call('SADD', topics, topic)
stream_add(letters, fields, 1, #fields)
redis.call('HSET', cursor, 'dead', entry_id)
return redis.call('XTRIM', letters, 'MAXLEN', '~', max_letters)
