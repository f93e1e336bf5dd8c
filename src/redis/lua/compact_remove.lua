-- Removes checkpoints with their writes, or writes alone. The parts that they name are left to the
-- collector.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  places
-- Returns { number of checkpoints removed; number of writes removed }.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is gone is not there to be removed again.
ask('ZCARD', heads)
ask('ZCARD', writes)
ask('HLEN', parts)
if wrong then
  return wrong
end
local checkpoints, count = 0, 0
for _, place in ipairs(ARGV) do
  checkpoints = checkpoints + redis.call('ZREMRANGEBYLEX', heads, from(place), to(place))
  count = count + redis.call('ZREMRANGEBYLEX', writes, from(place), to(place))
end
if redis.call('EXISTS', writes) == 0 then
  if count > 0 then
    redis.call('HDEL', parts, 'writes')
  end
  if redis.call('EXISTS', heads) == 0 then
    redis.call('UNLINK', parts)
  end
end
if checkpoints + count > 0 and redis.call('EXISTS', parts) == 1 then
  redis.call('HINCRBY', parts, 'removed', 1)
end
return { checkpoints, count }
