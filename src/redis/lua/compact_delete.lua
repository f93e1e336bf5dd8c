-- Deletes a thread.
--
-- KEYS  1 heads  2 parts  3 writes
-- Returns { number of checkpoints; number of writes }.
-- Errors  LGWRONGTYPE key.
-- Idempotent: the second run finds nothing.
local checkpoints, count = ask('ZCARD', heads), ask('ZCARD', writes)
local blobs = ask('HGET', parts, 'blobs') or 0
if wrong then
  return wrong
end
redis.call('UNLINK', unpack(KEYS))
return { checkpoints, math.max(count - blobs, 0) }
