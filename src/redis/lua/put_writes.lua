-- Stores the writes of a task, all together.
--
-- KEYS  1 registry of the checkpoint's writes  2 the checkpoint's document  3 set of namespaces
--       4… keys of the writes
-- ARGV  1 'replace' or 'keep' a write that is there  2 TTL in ms, 0 for none
--       3 namespace, as stored  4 checkpoint id
--       5 TTL that all of the thread must have (see expire_namespaces)
--       6 thread  7… documents of the writes (JSON)
-- Returns { how many were stored; 1 if the thread is due for its TTL, else 0 }.
-- Errors  LGWRONGTYPE key, LGFOREIGN key, LGLOST registry if it was there and is gone, LGHALFREMOVED.
-- Idempotent: what is there is kept, or replaced by the same.
local registry, document, namespaces = KEYS[1], KEYS[2], KEYS[3]
local replace, ttl, whole = ARGV[1] == 'replace', tonumber(ARGV[2]), tonumber(ARGV[5])
local namespace, id = ARGV[3], ARGV[4]
local keys, documents = {}, {}
for i = 4, #KEYS do
  keys[i - 3], documents[i - 3] = KEYS[i], ARGV[i + 3]
end

local had_registry = ask('ZCARD', registry) ~= 0
local had_document = is_there(document, 'ReJSON-RL')
local awaited = '\0writes\0' .. namespace .. '\0' .. id
local removed = '\0removed\0' .. namespace .. '\0' .. id
local pinned, is_awaited, is_named, is_removed =
  unpack(ask('SMISMEMBER', namespaces, PINNED, awaited, namespace, removed))
local are_new = count_writes(keys) == 0
if wrong or is_removed == 1 then
  return wrong or HALF_REMOVED
end
local had_namespaces = is_named == 1 or redis.call('EXISTS', namespaces) == 1

-- Threads and namespaces with colons may share keys with others.
local thread = ARGV[6]
local function is_foreign(names)
  local theirs = names and names[2] == '' and '__empty__' or names and names[2]
  return names and #names > 0 and (names[1] ~= thread or theirs ~= namespace or names[3] ~= id)
end
local shared = {}
if had_document and string.find(thread .. namespace, ':', 1, true) then
  shared[1] = document
end
for i = 1, are_new and 0 or #keys do
  shared[#shared + 1] = keys[i]
end
for i, names in ipairs(names_of(shared)) do
  if is_foreign(names) then
    return redis.error_reply('LGFOREIGN ' .. shared[i])
  end
end

if had_document and not had_registry and is_registered(document) then
  return redis.error_reply('LGLOST ' .. registry)
end

ttl, whole = allowed_ttl(namespaces, ttl, whole, had_namespaces, pinned == 1)
if had_document then
  -- A write lives at least as long as its checkpoint. In a thread that is being pinned it lives no
  -- longer either: should the checkpoint expire before it is reached, nothing would lead to the write.
  local left = redis.call('PTTL', document)
  if ttl > 0 then
    ttl = left == -1 and 0 or math.max(ttl, left)
  elseif pinned == 1 then
    ttl = as_long_as(left)
  end
end
local stored = store_writes(registry, keys, documents, replace, ttl, are_new)
expire_shared(registry, ttl, not had_registry)

if is_named ~= 1 then
  redis.call('SADD', namespaces, namespace)
end
if not had_document then
  -- The checkpoint may come later; until then only this says that the writes are there.
  if is_awaited ~= 1 then
    redis.call('SADD', namespaces, awaited)
  end
elseif not had_registry or (string.find(thread .. namespace, ':', 1, true) and not is_registered(document)) then
  redis.call('JSON.SET', document, '$.has_writes', 'true')
  redis.call('JSON.SET', document, '$.registered', 'true')
end
return { stored, expire_namespaces(namespaces, ttl, whole, not had_namespaces) }
