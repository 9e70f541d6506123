-- Call a command with a list of values of any length, in chunks: Lua passes at most about 8,000 values to one call
-- (LUAI_MAXCSTACK). Return the last reply; replies that are lists are joined. A chunk's length is even, so that a name
-- and its value stay together.
local function call_chunked(command, key, values)
    local chunk = 1000
    if #values <= chunk then return redis.call(command, key, unpack(values)) end
    local joined = {}
    for first = 1, #values, chunk do
        local reply = redis.call(command, key, unpack(values, first, math.min(first + chunk - 1, #values)))
        if type(reply) ~= 'table' then
            joined = reply
        else
            for _, value in ipairs(reply) do joined[#joined + 1] = value end
        end
    end
    return joined
end
