-- XADD cannot be split, and Lua passes at most about 8,000 values to one call (LUAI_MAXCSTACK).
local MAX_FIELDS = 3500  -- of one entry

-- Stop the script if an entry has too many fields. `values`: count of its names and values.
local function check_entry_size(values)
    if values > 2 * MAX_FIELDS then error({err = 'ERR a stream entry has more than ' .. MAX_FIELDS .. ' fields'}) end
end

-- Add an entry to a stream: the names and values from `first` to `last` of a list. Return the entry's id.
local function stream_add(stream, list, first, last)
    check_entry_size(last - first + 1)
    return redis.call('XADD', stream, '*', unpack(list, first, last))
end
