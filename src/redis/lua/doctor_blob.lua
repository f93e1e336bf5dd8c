-- Looks at one blob.
--
-- KEYS  1 blob  2 registry of blobs  3 set of namespaces
-- ARGV  1 'fix' or 'look'  2 TTL in ms that the blob should have, 0 for any or none
--       3 its member of the registry  4 the member that says that the namespace has blobs
-- Returns what is wrong: 'unregistered', 'ttl', 'unsure'.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is right stays so.
local blob, registry, namespaces = unpack(KEYS)
local fix, ttl = ARGV[1] == 'fix', tonumber(ARGV[2])
is_there(registry, 'zset')
is_there(namespaces, 'set')
if wrong then
  return wrong
end
local found = {}
local left = redis.call('PTTL', blob)
if left == -2 then
  return found
end
-- Only savers of ours store blobs, so there was a set.
local unsure = ttl > 0 and is_unsure(namespaces, blob)
left = mend_ttl(found, fix, blob, left, ttl, namespaces, unsure)
if not redis.call('ZSCORE', registry, ARGV[3]) then
  found[#found + 1] = 'unregistered'
  if fix then
    register_in(registry, left, 0, ARGV[3])
    if not unsure then
      list_in(namespaces, left, ARGV[4])
    end
  end
end
return found
