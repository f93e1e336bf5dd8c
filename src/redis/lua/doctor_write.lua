-- Looks at one write.
--
-- KEYS  1 write  2 registry of the checkpoint's writes  3 document  4 set of namespaces
--       5 registry of checkpoints  6… further registries that may name the write
-- ARGV  1 'fix' or 'look'  2 TTL in ms that the write should have, 0 for any or none
--       3 namespace, as stored  4 checkpoint id  5 score for the registry
--       6 what the write says of whose it is
-- Returns what is wrong: 'unregistered', 'ttl', 'unsure'.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is right stays so.
local write, registry, document, namespaces, checkpoints = unpack(KEYS)
local fix, ttl = ARGV[1] == 'fix', tonumber(ARGV[2])
is_there(document, 'ReJSON-RL')
is_there(namespaces, 'set')
is_there(checkpoints, 'zset')
is_there(registry, 'zset')
for i = 6, #KEYS do
  is_there(KEYS[i], 'zset')
end
if wrong then
  return wrong
end
local found = {}
local left = redis.call('PTTL', write)
if left == -2 or says(write) ~= ARGV[6] then
  return found
end
local unsure = ttl > 0 and is_unsure(namespaces, checkpoints)
-- Its document, which is looked at later, must outlive neither it nor its registry.
left = mend_ttl(found, fix, write, left, 2 * ttl, namespaces, unsure)
for i = 6, #KEYS do
  if redis.call('ZSCORE', KEYS[i], write) then
    return found
  end
end
if not redis.call('ZSCORE', registry, write) then
  found[#found + 1] = 'unregistered'
  if fix then
    register_in(registry, left, ARGV[5], write)
    local is_awaited = redis.call('EXISTS', document) == 0
    if not is_awaited then
      redis.call('JSON.SET', document, '$.has_writes', 'true')
    end
    if not unsure then
      list_in(namespaces, left, ARGV[3], is_awaited and '\0writes\0' .. ARGV[3] .. '\0' .. ARGV[4] or ARGV[3])
    end
  end
end
return found
