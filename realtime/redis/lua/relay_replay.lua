#!lua
-- Put a dead letter back on its topic, once, however often it is tried.
-- Returns the new entry's id, or nil if the dead letter is gone.
-- The letter is deleted after the entry has been added.
local letters, topic = KEYS[1], KEYS[2]
local letter_id = ARGV[1]
local first_field = 2  -- from there on: the entry's names and values

--@include stream_add

if #redis.call('XRANGE', letters, letter_id, letter_id) == 0 then return nil end
for i = first_field, #ARGV, 2 do
    if ARGV[i] == 'dlq_more_fields' then
        return redis.error_reply('ERR the entry has more fields than a script can add; it stays a dead letter')
    end
end
local entry_id = stream_add(topic, ARGV, first_field, #ARGV)
redis.call('XDEL', letters, letter_id)
return entry_id
