-- Stores a checkpoint with the parts that the thread lacks.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the namespace  2 place of the checkpoint  3 head  4 TTL in ms, 0 for none
--       5 expected newest: '' anything, '-' none, '=ID' as ids are in members
--       6 how many digests follow that the thread must have; these; then parts, each behind its digest
-- Returns the digests that the thread lacks; nothing was stored then.
-- Errors  LGWRONGTYPE key, LGCONFLICT newest id.
-- Idempotent: the second run replaces the head by itself and the parts by themselves.
local namespace, place, head, ttl, expected = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local last = 6 + tonumber(ARGV[6])

ask('HLEN', parts)
local missing = missing_of(7, last)
local there = at(heads, place, 1)[1]
-- A checkpoint that is there already is put again after a lost reply; the expectation held then.
local conflict = nil
if expected ~= '' and not there then
  local newest = newest_of(namespace)
  local id = newest and id_in(checkpoint_of(newest))
  if (expected == '-' and id) or (expected ~= '-' and id ~= string.sub(expected, 2)) then
    conflict = redis.error_reply('LGCONFLICT ' .. plain(id or ''))
  end
end
if wrong or conflict then
  return wrong or conflict
end
if #missing > 0 then
  return missing
end

local left = time_left()
store_parts(last + 1)
if there ~= place .. head then
  if there then
    redis.call('ZREMRANGEBYLEX', heads, from(place), to(place))
  end
  redis.call('ZADD', heads, 0, place .. head)
end
keep(left, ttl)
return {}
