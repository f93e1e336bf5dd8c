-- Looks at one document of a checkpoint.
--
-- KEYS  1 document  2 registry of checkpoints  3 set of namespaces  4… registries of its writes
-- ARGV  1 'fix' or 'look'  2 TTL in ms that the document should have, 0 for any or none
--       3 namespace, as stored  4 checkpoint id
-- Returns what is wrong: 'unregistered', 'ttl', 'flag'.
-- Twice: what is right stays so.
local document, registry, namespaces = unpack(KEYS)
local fix, ttl = ARGV[1] == 'fix', tonumber(ARGV[2])
local found = {}
local left = redis.call('PTTL', document)
if left == -2 then
  return found
end
if left == -1 and ttl > 0 and redis.call('SISMEMBER', namespaces, PINNED) == 0 then
  found[#found + 1] = 'ttl'
  if fix then
    redis.call('PEXPIRE', document, ttl)
    left = ttl
  end
end
if not redis.call('ZSCORE', registry, ARGV[4]) then
  found[#found + 1] = 'unregistered'
  if fix then
    local had_registry = redis.call('EXISTS', registry) == 1
    local had_namespaces = redis.call('EXISTS', namespaces) == 1
    redis.call('ZADD', registry, 0, ARGV[4])
    expire_shared(registry, math.max(left, 0), not had_registry)
    redis.call('SADD', namespaces, ARGV[3])
    expire_shared(namespaces, math.max(left, 0), not had_namespaces)
  end
end
local has_writes = false
for i = 4, #KEYS do
  has_writes = has_writes or redis.call('EXISTS', KEYS[i]) == 1
end
local right = has_writes and '[true]' or '[false]'
local says = redis.call('JSON.GET', document, '$.has_writes')
-- A document that says nothing means that there are none.
if says ~= right and (has_writes or says ~= '[]') then
  found[#found + 1] = 'flag'
  if fix then
    redis.call('JSON.SET', document, '$.has_writes', has_writes and 'true' or 'false')
  end
end
return found
