-- Forgets that a thread had writes, if all of them are lost, so that the rest of it can be read.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 'fix' to forget them, else 'look'
-- Returns the key that is lost, nothing if none is.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is forgotten is not lost any more.
ask('ZCARD', heads)
ask('ZCARD', writes)
local lost = lost_writes()
if wrong then
  return wrong
end
if not lost then
  return false
end
local has_parts = redis.call('EXISTS', parts) == 1
if ARGV[1] == 'fix' then
  local left = time_left()
  if not has_parts then
    begin_version()
    if left > 0 then
      redis.call('PEXPIRE', parts, left)
    end
  end
  redis.call('HDEL', parts, 'writes', 'blobs')
end
return has_parts and writes or parts
