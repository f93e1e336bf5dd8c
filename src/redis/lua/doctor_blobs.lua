-- Looks at members of a registry of blobs.
--
-- KEYS  1 registry of blobs  2 set of namespaces
-- ARGV  1 'fix' or 'look'  2 TTL in ms that keys should have, 0 for any or none
--       3 the member that says that the namespace has blobs
--       4 how many seconds a blob may take to come  5… pairs: a member, and its blob's key
-- Returns { 1 if the set lacks the member, 2 if it is lost and may have named a pin, else 0,
-- members whose blobs are gone… }.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is right stays so.
local registry, namespaces, fix, ttl = KEYS[1], KEYS[2], ARGV[1] == 'fix', tonumber(ARGV[2])
local has_registry = is_there(registry, 'zset')
is_there(namespaces, 'set')
if wrong then
  return wrong
end
local found = { 0 }
if not has_registry then
  return found
end
if redis.call('SISMEMBER', namespaces, ARGV[3]) == 0 then
  if ttl > 0 and is_unsure(namespaces, registry) then
    found[1] = 2
  else
    found[1] = 1
    if fix then
      list_in(namespaces, redis.call('PTTL', registry), ARGV[3])
    end
  end
end
local before = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[4])
for i = 5, #ARGV, 2 do
  local since = tonumber(redis.call('ZSCORE', registry, ARGV[i]) or before)
  if (since == 0 or since < before) and redis.call('EXISTS', ARGV[i + 1]) == 0 then
    found[#found + 1] = ARGV[i]
    if fix then
      redis.call('ZREM', registry, ARGV[i])
    end
  end
end
return found
