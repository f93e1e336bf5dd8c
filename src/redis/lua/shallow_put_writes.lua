-- Stores the writes of a task in shallow mode, all together, unless their checkpoint is older than
-- the one that is there: then they were consumed.
--
-- KEYS  1 document  2 registry of writes  3 set of namespaces  4… keys of the writes
-- ARGV  1 thread  2 namespace  3 namespace, as stored  4 prefix of the keys of its writes
--       5 checkpoint id  6 TTL in ms, 0 for none  7 'replace' or 'keep' a write that is there
--       8… documents of the writes (JSON)
-- Returns how many were stored.
-- Errors  LGWRONGTYPE key, LGFOREIGN key, LGHALFREMOVED.
-- Idempotent: what is there is kept, or replaced by the same.
local document, registry, namespaces = unpack(KEYS)
local thread, namespace, stored, id = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local ttl, replace = tonumber(ARGV[6]), ARGV[7] == 'replace'
local keys, documents = {}, {}
for i = 4, #KEYS do
  keys[i - 3], documents[i - 3] = KEYS[i], ARGV[i + 4]
end

is_there(document, 'ReJSON-RL')
local had_registry = is_there(registry, 'zset')
local had_namespaces = is_there(namespaces, 'set')
local are_new = count_writes(keys) == 0
local pinned, is_removed, are_removed =
  unpack(ask('SMISMEMBER', namespaces, PINNED, shallow_mark(stored, id), shallow_mark(stored, '')))
if wrong or is_removed == 1 or are_removed == 1 then
  return wrong or HALF_REMOVED
end
local found = names_of({ document })[1]
if found and (found[1] ~= thread or not is_namespace(found[2], namespace)
  or type(found[3]) ~= 'string') then
  return redis.error_reply('LGFOREIGN ' .. document)
end
if found and less(id, found[3]) then
  return 0
end
for i, names in ipairs(names_of(keys)) do
  if names and (names[1] ~= thread or not is_namespace(names[2], namespace)
    or names[3] ~= id) then
    return redis.error_reply('LGFOREIGN ' .. keys[i])
  end
end

if pinned == 1 then
  ttl = 0
end
local has_document = found and found[3] == id
if has_document and ttl > 0 then
  -- A write lives at least as long as its checkpoint.
  local document_left = redis.call('PTTL', document)
  ttl = document_left == -1 and 0 or math.max(ttl, document_left)
end
local count = store_writes(registry, keys, documents, replace, ttl, are_new)
expire_shared(registry, ttl, not had_registry)
redis.call('SADD', namespaces, stored)
expire_shared(namespaces, ttl, not had_namespaces)
if has_document then
  redis.call('JSON.SET', document, '$.registered', 'true')
end
return count
