-- Stores a blob, unless it is there.
--
-- KEYS  1 blob
-- ARGV  1 document (JSON)  2 TTL in ms, 0 for none
-- Returns 1 if it was stored, 0 if it was there.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is there is left; its TTL only grows.
local blob, ttl = KEYS[1], tonumber(ARGV[2])
local had_blob = is_there(blob, 'ReJSON-RL')
if wrong then
  return wrong
end
if not had_blob then
  redis.call('JSON.SET', blob, '$', ARGV[1])
end
expire_shared(blob, ttl, not had_blob)
return had_blob and 0 or 1
