-- Replaces a head or a record by the same one sealed with another key, if it is what was read, together with
-- the parts that the thread lacks.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 'heads' or 'writes'  2 place  3 what stands there  4 what is to stand there
--       5 how many digests follow that the thread must have
--       the digests; then parts, each behind its digest
-- Returns { 1 if it stands there now, else 0; the digests that the thread lacks }; nothing was stored if it
-- does not.
-- Errors  LGWRONGTYPE key.
-- Idempotent: the second run finds what the first left.
local key = ARGV[1] == 'heads' and heads or writes
local old, new = ARGV[2] .. ARGV[3], ARGV[2] .. ARGV[4]
local last = 5 + tonumber(ARGV[5])

ask('HLEN', parts)
local missing = missing_of(6, last)
local there = at(key, ARGV[2], 1)[1]
if wrong then
  return wrong
end
if there ~= old or #missing > 0 then
  return { there == new and 1 or 0, there == old and missing or {} }
end

local left = time_left()
store_parts(last + 1)
-- In this order, as a key without members is gone, and its TTL with it.
redis.call('ZADD', key, 0, new)
redis.call('ZREM', key, old)
keep(left, math.max(left, 1))
return { 1, {} }
