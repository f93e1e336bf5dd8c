-- Looks at members of a registry of blobs.
--
-- KEYS  1 registry of blobs  2 set of namespaces
-- ARGV  1 'fix' or 'look'  2 the member that says that the namespace has blobs
--       3 how many seconds a blob may take to come  4… pairs: a member, and its blob's key
-- Returns { 1 if the set lacks the member, else 0, members whose blobs are gone… }.
-- Twice: what is right stays so.
local registry, namespaces, fix = KEYS[1], KEYS[2], ARGV[1] == 'fix'
local found = { 0 }
if redis.call('EXISTS', registry) == 0 then
  return found
end
if redis.call('SISMEMBER', namespaces, ARGV[2]) == 0 then
  found[1] = 1
  if fix then
    local had_namespaces = redis.call('EXISTS', namespaces) == 1
    redis.call('SADD', namespaces, ARGV[2])
    expire_shared(namespaces, math.max(redis.call('PTTL', registry), 0), not had_namespaces)
  end
end
local before = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[3])
for i = 4, #ARGV, 2 do
  local since = tonumber(redis.call('ZSCORE', registry, ARGV[i]) or before)
  if (since == 0 or since < before) and redis.call('EXISTS', ARGV[i + 1]) == 0 then
    found[#found + 1] = ARGV[i]
    if fix then
      redis.call('ZREM', registry, ARGV[i])
    end
  end
end
return found
