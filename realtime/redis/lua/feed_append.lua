#!lua
-- Append a topic's entries to one feed, all or none.
-- KEYS: meta, log, ids, ids:old
-- ARGV: topic, epoch to begin with, most entries, most bytes, log seconds, id seconds, meta seconds,
--       then for each entry: stream entry id, publication id, encoded publication
-- Answers {epoch, {offset of each entry; 0 if it was appended before and its id is forgotten}, offset before, last id before}
local meta, log, ids, old = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local log_seconds, id_seconds, meta_seconds = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local last_field = 'last:' .. ARGV[1]

--@include stream_id_after

local got = redis.call('HMGET', meta, 'epoch', 'offset', 'bytes', 'ids_since', last_field, 'id')
local epoch, offset = got[1] or ARGV[2], tonumber(got[2] or 0)
local bytes, ids_since = tonumber(got[3] or 0), tonumber(got[4] or 0)
local last = got[5] or '0-0'
local offset_before, id_before = offset, got[6] or ''
local now = tonumber(redis.call('TIME')[1])

-- Ids stay for id_seconds at least after they were written: two generations, each of which lives for two of these.
local is_new_generation = now - ids_since > id_seconds or ids_since > now + id_seconds
if is_new_generation then
    if redis.call('EXISTS', ids) == 1 then redis.call('RENAME', ids, old) end
end

-- As few calls as possible: they are what an append costs.
local asked = {}
for i = 9, #ARGV, 3 do asked[#asked + 1] = ARGV[i] end
local known, known_before = redis.call('HMGET', ids, unpack(asked)), redis.call('HMGET', old, unpack(asked))

local offsets, places, payloads, added, last_id = {}, {}, {}, {}, id_before
for number, id in ipairs(asked) do
    local entry = ARGV[5 + 3 * number]
    local place = places[id] or known[number] or known_before[number]
    if place and place:sub(1, #epoch + 1) == epoch .. ':' then
        offsets[number] = tonumber(place:sub(#epoch + 2))
    elseif not above(entry, last) then
        offsets[number] = 0
    else
        local payload = ARGV[7 + 3 * number]
        offset, bytes, last_id = offset + 1, bytes + #payload, id
        payloads[#payloads + 1] = payload
        places[id] = epoch .. ':' .. string.format('%.0f', offset)
        added[#added + 1], added[#added + 2] = id, places[id]
        offsets[number] = offset
    end
    if above(entry, last) then last = entry end
end

if #payloads > 0 then
    local length = redis.call('RPUSH', log, unpack(payloads))
    if length == #payloads then -- the log had expired
        bytes = 0
        for _, payload in ipairs(payloads) do bytes = bytes + #payload end
    end
    while length > most or (bytes > most_bytes and length > 1) do
        bytes = bytes - #redis.call('LPOP', log)
        length = length - 1
    end
    redis.call('HSET', ids, unpack(added))
    redis.call('EXPIRE', log, log_seconds)
    if is_new_generation then
        redis.call('EXPIRE', ids, 2 * id_seconds)
        ids_since = now
    end
end
redis.call('HSET', meta, 'epoch', epoch, 'offset', string.format('%.0f', offset), 'bytes', bytes,
    'ids_since', ids_since, last_field, last, 'id', last_id)
redis.call('EXPIRE', meta, meta_seconds)
return {epoch, offsets, offset_before, id_before}
