-- Stores the writes of a task, all together.
--
-- KEYS  1 registry of the checkpoint's writes  2 the checkpoint's document  3 set of namespaces
--       4… keys of the writes
-- ARGV  1 'replace' or 'keep' a write that is there  2 TTL in ms, 0 for none
--       3 namespace, as stored  4 checkpoint id
--       5 TTL that all of the thread must have (see expire_namespaces)
--       6… documents of the writes (JSON)
-- Returns { how many were stored; 1 if the thread is due for its TTL, else 0 }.
-- Errors  LGWRONGTYPE key.
-- Twice: what is there is kept, or replaced by the same.
local registry, document, namespaces = KEYS[1], KEYS[2], KEYS[3]
local replace, ttl, whole = ARGV[1] == 'replace', tonumber(ARGV[2]), tonumber(ARGV[5])
local namespace, id = ARGV[3], ARGV[4]
local first_key, first_document = 3, 5

local wrong = check_type(registry, 'zset') or check_type(document, 'ReJSON-RL')
  or check_type(namespaces, 'set')
for i = first_key + 1, #KEYS do
  wrong = wrong or check_type(KEYS[i], 'ReJSON-RL')
end
if wrong then
  return wrong
end

if redis.call('SISMEMBER', namespaces, PINNED) == 1 then
  ttl, whole = 0, 0
end
local had_registry = redis.call('EXISTS', registry) == 1
local had_namespaces = redis.call('EXISTS', namespaces) == 1

local stored = 0
for i = 1, #KEYS - first_key do
  local key, json = KEYS[first_key + i], ARGV[first_document + i]
  if store_write(registry, i - 1, key, json, replace, ttl) then
    stored = stored + 1
  end
end
expire_shared(registry, ttl, not had_registry)

redis.call('SADD', namespaces, namespace)
if redis.call('EXISTS', document) == 0 then
  -- The checkpoint may come later; until then only this says that the writes are there.
  redis.call('SADD', namespaces, '\0writes\0' .. namespace .. '\0' .. id)
elseif not had_registry then
  redis.call('JSON.SET', document, '$.has_writes', 'true')
end
return { stored, expire_namespaces(namespaces, ttl, whole, not had_namespaces) }
