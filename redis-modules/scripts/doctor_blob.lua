-- Looks at one blob.
--
-- KEYS  1 blob  2 registry of blobs  3 set of namespaces
-- ARGV  1 'fix' or 'look'  2 TTL in ms that the blob should have, 0 for any or none
--       3 its member of the registry  4 the member that says that the namespace has blobs
-- Returns what is wrong: 'unregistered', 'ttl'.
-- Twice: what is right stays so.
local blob, registry, namespaces = unpack(KEYS)
local fix, ttl = ARGV[1] == 'fix', tonumber(ARGV[2])
local found = {}
local left = redis.call('PTTL', blob)
if left == -2 then
  return found
end
if left == -1 and ttl > 0 and redis.call('SISMEMBER', namespaces, PINNED) == 0 then
  found[#found + 1] = 'ttl'
  if fix then
    redis.call('PEXPIRE', blob, ttl)
    left = ttl
  end
end
if not redis.call('ZSCORE', registry, ARGV[3]) then
  found[#found + 1] = 'unregistered'
  if fix then
    local had_registry = redis.call('EXISTS', registry) == 1
    local had_namespaces = redis.call('EXISTS', namespaces) == 1
    redis.call('ZADD', registry, 0, ARGV[3])
    expire_shared(registry, math.max(left, 0), not had_registry)
    redis.call('SADD', namespaces, ARGV[4])
    expire_shared(namespaces, math.max(left, 0), not had_namespaces)
  end
end
return found
