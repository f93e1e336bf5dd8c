-- Deletes a thread, whatever its keys hold.
--
-- KEYS  1 heads  2 parts  3 writes
-- Returns { number of checkpoints; number of writes }.
-- Idempotent: the second run finds nothing.
local checkpoints, count = tonumber(ask('ZCARD', heads)) or 0, tonumber(ask('ZCARD', writes)) or 0
local blobs = tonumber(ask('HGET', parts, 'blobs')) or 0
redis.call('UNLINK', unpack(KEYS))
return { checkpoints, math.max(count - blobs, 0) }
