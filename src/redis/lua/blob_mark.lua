-- Notes in a thread's set of namespaces that a namespace has blobs.
--
-- KEYS  1 set of namespaces
-- ARGV  1 the member that says so  2 TTL in ms, 0 for none
--       3 TTL that all of the thread must have (see expire_namespaces)
-- Returns 1 if the thread's keys may have that TTL, 0 if they may have none.
-- Errors  LGWRONGTYPE key.
-- Idempotent: the member is there already.
local namespaces, wanted, all = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local had_namespaces = is_there(namespaces, 'set')
if wrong then
  return wrong
end
local is_pinned = redis.call('SISMEMBER', namespaces, PINNED) == 1
local ttl, thread_ttl = allowed_ttl(namespaces, wanted, all, had_namespaces, is_pinned)
redis.call('SADD', namespaces, ARGV[1])
expire_namespaces(namespaces, ttl, thread_ttl, not had_namespaces)
return ttl == wanted and 1 or 0
