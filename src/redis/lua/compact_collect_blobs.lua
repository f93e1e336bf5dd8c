-- Removes blobs that no checkpoint names, if the thread was not written since that was found out.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 version that the thread had  2... places of blobs
-- Returns how many were removed, -1 if the thread was written.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is gone is not there to be removed again.
local version = ask('HGET', parts, 'version') or ''
ask('ZCARD', writes)
if wrong then
  return wrong
end
if version ~= ARGV[1] then
  return -1
end
local removed = 0
for i = 2, #ARGV do
  removed = removed + redis.call('ZREMRANGEBYLEX', writes, from(ARGV[i]), to(ARGV[i]))
end
if removed > 0 then
  redis.call('HINCRBY', parts, 'blobs', -removed)
  if redis.call('EXISTS', writes) == 0 then
    redis.call('HDEL', parts, 'writes')
    if redis.call('EXISTS', heads) == 0 then
      redis.call('UNLINK', parts)
    end
  end
end
return removed
