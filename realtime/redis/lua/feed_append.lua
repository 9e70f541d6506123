#!lua
-- Append a topic's entries to one feed, all or none.
-- Returns {epoch, {offset of each entry; 0: appended before, and its id has expired}, offset before, last id before}.
-- It reads everything before it writes. Entries are written to the log first; then the position and the ids, which say
-- that they are there.
local meta, log, ids, old_ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local topic, new_epoch = ARGV[1], ARGV[2]
local max_entries, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local log_seconds, id_seconds, meta_seconds = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local first_entry = 8  -- from there on, for each entry: stream entry id, publication id, encoded publication

--@include stream_id_after
--@include redis_call
--@include feed_begin

local last_field = 'last:' .. topic  -- of meta: the stream id of the last entry that came from this topic

local function read_feed()
    local stored = redis.call('HMGET', meta, 'epoch', 'offset', 'bytes', 'ids_since', last_field, 'id')
    return {
        exists = stored[1], epoch = stored[1] or new_epoch,
        offset = tonumber(stored[2] or 0), bytes = tonumber(stored[3] or 0),
        ids_since = tonumber(stored[4] or 0),  -- when `ids` was begun, in Unix seconds
        last_entry = stored[5] or '0-0', last_id = stored[6] or '',
    }
end

-- Return the offset in a place, '<epoch>:<offset>', or nil if it is of another epoch.
local function offset_in_epoch(place, epoch)
    if place and place:sub(1, #epoch + 1) == epoch .. ':' then return tonumber(place:sub(#epoch + 2)) end
end

-- Give each entry its offset and move the feed's position over the new ones.
-- Returns the offsets, the payloads to append, and a list of the ids to remember, each followed by its place.
local function place_entries(feed)
    local asked = {}
    for i = first_entry + 1, #ARGV, 3 do asked[#asked + 1] = ARGV[i] end
    local known, known_before = call_chunked('HMGET', ids, asked), call_chunked('HMGET', old_ids, asked)
    local offsets, payloads, remembered, places = {}, {}, {}, {}
    for i = first_entry, #ARGV, 3 do
        local entry, id, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2]
        local number = #offsets + 1
        local is_later = stream_id_after(entry, feed.last_entry)
        local offset = offset_in_epoch(places[id] or known[number] or known_before[number], feed.epoch)
        if offset then
            offsets[number] = offset
        elseif not is_later then
            offsets[number] = 0
        else
            offset = feed.offset + 1
            feed.offset, feed.last_id = offset, id
            payloads[#payloads + 1] = payload
            places[id] = feed.epoch .. ':' .. string.format('%.0f', offset)
            remembered[#remembered + 1], remembered[#remembered + 2] = id, places[id]
            offsets[number] = offset
        end
        if is_later then feed.last_entry = entry end
    end
    return offsets, payloads, remembered
end

-- Append to the log and drop its oldest entries over the limits, never the newest one.
local function append_to_log(feed, payloads)
    local length = call_chunked('RPUSH', log, payloads)
    if length == #payloads then feed.bytes = 0 end  -- the log had expired
    for _, payload in ipairs(payloads) do feed.bytes = feed.bytes + #payload end
    while length > max_entries or (feed.bytes > max_bytes and length > 1) do
        feed.bytes = feed.bytes - #redis.call('LPOP', log)
        length = length - 1
    end
end

local feed = read_feed()
local offset_before, id_before = feed.offset, feed.last_id
local now = tonumber(redis.call('TIME')[1])
-- Ids are remembered for id_seconds at least: in two generations, each of which lives for twice as long.
local is_new_generation = now - feed.ids_since > id_seconds or feed.ids_since > now + id_seconds
local offsets, payloads, remembered = place_entries(feed)

if not feed.exists then feed_begin(meta, log, feed.epoch, meta_seconds) end
if #payloads > 0 then
    append_to_log(feed, payloads)
    if is_new_generation then feed.ids_since = now end
end

redis.call('HSET', meta, 'epoch', feed.epoch, 'offset', string.format('%.0f', feed.offset), 'bytes', feed.bytes,
    'ids_since', feed.ids_since, last_field, feed.last_entry, 'id', feed.last_id)
redis.call('EXPIRE', meta, meta_seconds)

if #payloads > 0 then
    redis.call('EXPIRE', log, log_seconds)
    if is_new_generation and redis.call('EXISTS', ids) == 1 then redis.call('RENAME', ids, old_ids) end
    call_chunked('HSET', ids, remembered)
    redis.call('EXPIRE', ids, 2 * id_seconds)
end
return {feed.epoch, offsets, offset_before, id_before}
