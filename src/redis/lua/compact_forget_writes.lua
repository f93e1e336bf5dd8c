-- Forgets that a thread had writes, if all of them are lost, so that the rest of it can be read.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 'fix' to forget them, else 'look'
-- Returns 1 if they are lost, else 0.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is forgotten is not lost any more.
ask('ZCARD', heads)
ask('ZCARD', writes)
local lost = lost_writes()
if wrong then
  return wrong
end
if lost and ARGV[1] == 'fix' then
  redis.call('HDEL', parts, 'writes', 'blobs')
end
return lost and 1 or 0
