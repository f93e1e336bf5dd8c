-- Looks at one write.
--
-- KEYS  1 write  2 registry of the checkpoint's writes  3 document  4 set of namespaces
--       5… further registries that may name the write
-- ARGV  1 'fix' or 'look'  2 TTL in ms that the write should have, 0 for any or none
--       3 namespace, as stored  4 checkpoint id  5 score for the registry
-- Returns what is wrong: 'unregistered', 'ttl'.
-- Twice: what is right stays so.
local write, registry, document, namespaces = unpack(KEYS)
local fix, ttl = ARGV[1] == 'fix', tonumber(ARGV[2])
local found = {}
local left = redis.call('PTTL', write)
if left == -2 then
  return found
end
if left == -1 and ttl > 0 and redis.call('SISMEMBER', namespaces, PINNED) == 0 then
  found[#found + 1] = 'ttl'
  if fix then
    redis.call('PEXPIRE', write, ttl)
    left = ttl
  end
end
for i = 5, #KEYS do
  if redis.call('ZSCORE', KEYS[i], write) then
    return found
  end
end
if not redis.call('ZSCORE', registry, write) then
  found[#found + 1] = 'unregistered'
  if fix then
    local had_registry = redis.call('EXISTS', registry) == 1
    local had_namespaces = redis.call('EXISTS', namespaces) == 1
    redis.call('ZADD', registry, ARGV[5], write)
    expire_shared(registry, math.max(left, 0), not had_registry)
    redis.call('SADD', namespaces, ARGV[3])
    if redis.call('EXISTS', document) == 0 then
      redis.call('SADD', namespaces, '\0writes\0' .. ARGV[3] .. '\0' .. ARGV[4])
    else
      redis.call('JSON.SET', document, '$.has_writes', 'true')
    end
    expire_shared(namespaces, math.max(left, 0), not had_namespaces)
  end
end
return found
