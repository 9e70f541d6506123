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

--@include above

local got = redis.call('HMGET', meta, 'epoch', 'offset', 'bytes', 'ids_since', last_field, 'id')
local epoch, offset = got[1] or ARGV[2], tonumber(got[2] or 0)
local bytes, ids_since = tonumber(got[3] or 0), tonumber(got[4] or 0)
local last = got[5] or '0-0'
local offset_before, id_before = offset, got[6] or ''
local now = tonumber(redis.call('TIME')[1])

if redis.call('EXISTS', log) == 0 then bytes = 0 end
if now - ids_since > id_seconds or ids_since > now + id_seconds then
    if redis.call('EXISTS', ids) == 1 then redis.call('RENAME', ids, old) end
    ids_since = now
end

local offsets, last_id, appended = {}, nil, 0
for i = 8, #ARGV, 3 do
    local entry, id, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local known = redis.call('HGET', ids, id) or redis.call('HGET', old, id)
    if known and known:sub(1, #epoch + 1) == epoch .. ':' then
        offsets[#offsets + 1] = tonumber(known:sub(#epoch + 2))
    elseif not above(entry, last) then
        offsets[#offsets + 1] = 0
    else
        redis.call('RPUSH', log, payload)
        offset, bytes, appended, last_id = offset + 1, bytes + #payload, appended + 1, id
        redis.call('HSET', ids, id, epoch .. ':' .. string.format('%.0f', offset))
        offsets[#offsets + 1] = offset
    end
    if above(entry, last) then last = entry end
end

if appended > 0 then
    local length = redis.call('LLEN', log)
    while length > most or (bytes > most_bytes and length > 1) do
        bytes = bytes - #redis.call('LPOP', log)
        length = length - 1
    end
    redis.call('EXPIRE', log, log_seconds)
    redis.call('HSET', meta, 'id', last_id)
end
redis.call('EXPIRE', ids, 2 * id_seconds)
redis.call('EXPIRE', old, 2 * id_seconds)
redis.call('HSET', meta, 'epoch', epoch, 'offset', string.format('%.0f', offset), 'bytes', bytes,
    'ids_since', ids_since, last_field, last)
redis.call('EXPIRE', meta, meta_seconds)
return {epoch, offsets, offset_before, id_before}
