-- Stores a checkpoint and blobs of it, with the parts that the thread lacks.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the namespace  2 place of the checkpoint  3 head  4 TTL in ms, 0 for none
--       5 expected newest: '' anything, '-' none, '=ID' as ids are in members
--       6 how many digests follow that the thread must have  7 how many blobs follow them
--       the digests; the blobs, each as channel 00 version 00 and its record; then parts, each behind its
--       digest
-- Returns the digests that the thread lacks; nothing was stored then.
-- Errors  LGWRONGTYPE key, LGUNREADABLE key, LGLOST key, LGCONFLICT newest id.
-- Idempotent: the second run replaces the head by itself and the parts by themselves, and keeps the blobs.
local namespace, place, head, ttl, expected = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local last = 7 + tonumber(ARGV[6])
local first_part = last + 1 + 2 * tonumber(ARGV[7])

ask('HLEN', parts)
local missing = missing_of(8, last)
local blobs = {}
for i = last + 1, first_part - 1, 2 do
  -- A blob that is there stays as it is.
  local blob = namespace .. '\0' .. ARGV[i]
  if not at(writes, blob, 1)[1] then
    blobs[#blobs + 1] = blob .. ARGV[i + 1]
  end
end
local lost = #blobs > 0 and lost_writes()
local there = at(heads, place, 1)[1]
-- A checkpoint that is there already is put again after a lost reply; the expectation held then.
local conflict = nil
if expected ~= '' and not there then
  local newest = newest_of(namespace)
  local id = newest and id_in(checkpoint_of(heads, newest))
  if (expected == '-' and id) or (expected ~= '-' and id ~= string.sub(expected, 2)) then
    conflict = redis.error_reply('LGCONFLICT ' .. plain(id or ''))
  end
end
if wrong or lost or conflict then
  return wrong or lost or conflict
end
if #missing > 0 then
  return missing
end

local left = time_left()
local are_lost = redis.call('EXISTS', heads, writes) == 0
store_parts(first_part)
if are_lost then
  -- What it says of writes, it says of those of checkpoints that are gone themselves.
  redis.call('HDEL', parts, 'writes', 'blobs')
end
if #blobs > 0 then
  redis.call('HSET', parts, 'writes', 1)
  redis.call('HINCRBY', parts, 'blobs', #blobs)
  for _, member in ipairs(blobs) do
    redis.call('ZADD', writes, 0, member)
  end
end
if there ~= place .. head then
  if there then
    redis.call('ZREMRANGEBYLEX', heads, from(place), to(place))
  end
  redis.call('ZADD', heads, 0, place .. head)
end
keep(left, ttl)
return {}
