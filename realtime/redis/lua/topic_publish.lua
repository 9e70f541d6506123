#!lua
-- Add entries to their streams, all or none, if the caller holds the lease.
-- Returns 1, or 0 if it does not.
local lease = KEYS[1]
local holder = ARGV[1]
local first_stream = 2  -- from there on, in KEYS: the streams
local first_entry = 2  -- from there on, for each: number of its stream in KEYS, count of names and values, those

--@include stream_add

-- Call a function with each entry: its stream, and where its names and values begin and end in ARGV.
local function each_entry(call)
    local i = first_entry
    while i <= #ARGV do
        local stream, count = KEYS[tonumber(ARGV[i])], tonumber(ARGV[i + 1])
        call(stream, i + 2, i + 1 + count)
        i = i + 2 + count
    end
end

if redis.call('GET', lease) ~= holder then return 0 end
-- What would stop the script between two entries is found before the first: XLEN fails for a key of another type.
for i = first_stream, #KEYS do redis.call('XLEN', KEYS[i]) end
each_entry(function(_, first, last) check_entry_size(last - first + 1) end)
each_entry(function(stream, first, last) stream_add(stream, ARGV, first, last) end)
return 1
