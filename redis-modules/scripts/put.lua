-- Stores a checkpoint, and makes it the newest of its namespace if its id is the greatest.
--
-- KEYS  1 document  2 pointer to the newest  3 registry of checkpoints  4 set of namespaces
--       5 registry of the checkpoint's writes
-- ARGV  1 document (JSON)  2 id  3 namespace, as stored  4 TTL in ms, 0 for none
--       5 prefix of the namespace's documents  6 expected newest: '' anything, '-' none, '=ID'
--       7, 8 what an existing document must say at $.thread_id and $.checkpoint_ns
--       9 TTL that all of the thread must have (see expire_namespaces)
-- Returns { 1 if it is the newest now, else 0; 1 if the thread is due for its TTL, else 0 }.
-- Errors  LGWRONGTYPE key, LGFOREIGN key, LGCONFLICT newest id.
-- Twice: the document, the pointer and the registry are the same after the second run.
local document, pointer, registry, namespaces, writes = unpack(KEYS)
local json, id, namespace, prefix, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[6]
local ttl, whole = tonumber(ARGV[4]), tonumber(ARGV[9])

local had_document = is_there(document, 'ReJSON-RL')
local had_registry = is_there(registry, 'zset')
local had_namespaces = is_there(namespaces, 'set')
local has_writes = is_there(writes, 'zset')
is_there(pointer, 'string')
if wrong then
  return wrong
end

local is_again = false
if had_document then
  local thread = redis.call('JSON.GET', document, '$.thread_id')
  -- A document without ids is what the Python saver leaves when writes come first.
  is_again = thread ~= '[]'
  if is_again
    and (thread ~= ARGV[7] or redis.call('JSON.GET', document, '$.checkpoint_ns') ~= ARGV[8]) then
    return redis.error_reply('LGFOREIGN ' .. document)
  end
end

local newest = after(redis.call('GET', pointer), prefix)
if not newest or (newest ~= id and redis.call('EXISTS', prefix .. newest) == 0) then
  newest = newest_of(registry, prefix)
end
-- A checkpoint that is there already is put again after a lost reply; the expectation held then.
local conflict = not is_again and check_expected(expected, newest)
if conflict then
  return conflict
end

ttl, whole = allowed_ttl(namespaces, ttl, whole, had_namespaces)

redis.call('JSON.SET', document, '$', json)
expire(document, ttl, not had_document)
if has_writes then
  redis.call('JSON.SET', document, '$.has_writes', 'true')
end
if had_namespaces then
  redis.call('SREM', namespaces, '\0writes\0' .. namespace .. '\0' .. id)
end

-- Another saver moved the pointer without telling the registry: from now on the registry is
-- known to be incomplete (the empty member), until a reader has mended it from the index.
if newest and newest ~= id and not redis.call('ZSCORE', registry, newest) then
  redis.call('ZADD', registry, 0, '')
end
redis.call('ZADD', registry, 0, id)
expire_shared(registry, ttl, not had_registry)
redis.call('SADD', namespaces, namespace)
local due = expire_namespaces(namespaces, ttl, whole, not had_namespaces)

local is_newest = not newest or newest == id or less(newest, id)
if is_newest then
  if ttl > 0 then
    redis.call('SET', pointer, document, 'PX', ttl)
  else
    redis.call('SET', pointer, document)
  end
end
if ttl > 0 and had_registry then
  local registries = string.sub(registry, 1, #registry - #namespace)
  sweep(registry, prefix, namespaces, registries, string.sub(writes, 1, #writes - #namespace - #id - 1))
end
return { is_newest and 1 or 0, due }
