-- Return whether the stream id `a` comes after `b`. They are compared as text: Lua's numbers are exact up to 2^53 only.
local function stream_id_after(a, b)
    local a_ms, a_seq = a:match('^(%d+)-(%d+)$')
    local b_ms, b_seq = b:match('^(%d+)-(%d+)$')
    if a_ms ~= b_ms then
        return #a_ms > #b_ms or (#a_ms == #b_ms and a_ms > b_ms)
    end
    return #a_seq > #b_seq or (#a_seq == #b_seq and a_seq > b_seq)
end
