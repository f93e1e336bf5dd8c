-- Removes parts that nothing names, if the thread was not written since that was found out; and what is
-- left of a thread that has nothing else.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 version that the thread had  2... digests
-- Returns how many were removed, -1 if the thread was written.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is gone is not there to be removed again.
local version = ask('HGET', parts, 'version') or ''
if wrong then
  return wrong
end
if version ~= ARGV[1] then
  return -1
end
local removed = #ARGV > 1 and redis.call('HDEL', parts, unpack(ARGV, 2)) or 0
if redis.call('EXISTS', heads, writes) == 0 then
  redis.call('UNLINK', parts)
end
return removed
