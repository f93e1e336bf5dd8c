-- Removes parts that nothing names, if the thread was not written since that was found out; and what is
-- left of a thread that has nothing else.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 version that the thread had  2 `removed` as it was then, '' for none; 'more' if further digests
--       are to be removed  3... digests
-- Returns how many were removed, -1 if the thread was written.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is gone is not there to be removed again.
local found = ask('HMGET', parts, 'version', 'removed')
if wrong then
  return wrong
end
if (found[1] or '') ~= ARGV[1] then
  return -1
end
local removed = #ARGV > 2 and redis.call('HDEL', parts, unpack(ARGV, 3)) or 0
if ARGV[2] == found[2] then
  redis.call('HDEL', parts, 'removed')
end
if redis.call('EXISTS', heads, writes) == 0 then
  redis.call('UNLINK', parts)
end
return removed
