-- Stores a checkpoint, and makes it the newest of its namespace if its id is the greatest.
--
-- KEYS  1 document  2 pointer to the newest  3 registry of checkpoints  4 set of namespaces
--       5 registry of the checkpoint's writes  6 the key that the document was staged under, if any
-- ARGV  1 document (JSON), '' if it was staged  2 id  3 namespace, as stored  4 TTL in ms, 0 for none
--       5 prefix of the namespace's documents  6 expected newest: '' anything, '-' none, '=ID'
--       7, 8 what an existing document must say at $.thread_id and $.checkpoint_ns
--       9 TTL that all of the thread must have (see expire_namespaces)
--       10 prefix of the keys of the namespace's writes
-- Returns { 1 if it is the newest now, else 0; 1 if the thread is due for its TTL, else 0; 1 if it has so
-- many writes that the caller must give them its TTL, else 0; that TTL }.
-- Errors  LGWRONGTYPE key, LGFOREIGN key, LGCONFLICT newest id, LGSTAGED if nothing is staged, LGFURTHER,
--         LGHALFREMOVED.
-- Idempotent: the document, the pointer and the registry are the same after the second run, which
-- finds nothing staged any more.
local document, pointer, registry, namespaces, writes, staged = unpack(KEYS)
local json, id, namespace, prefix, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[6]
local ttl, whole = tonumber(ARGV[4]), tonumber(ARGV[9])

-- Ends the script with an error; what was staged goes with it.
local function refuse(error)
  if staged then
    redis.call('UNLINK', staged)
  end
  return error
end
if staged and redis.call('EXISTS', staged) == 0 then
  return redis.error_reply('LGSTAGED ' .. staged)
end

-- Most often neither is there, and one command says so.
local had_document, has_writes = false, false
if redis.call('EXISTS', document, writes) > 0 then
  had_document = is_there(document, 'ReJSON-RL')
  has_writes = is_there(writes, 'zset')
end
local newest = after(ask('GET', pointer), prefix)
local awaited = '\0writes\0' .. namespace .. '\0' .. id
local removed = '\0removed\0' .. namespace .. '\0' .. id
local pinned, is_awaited, is_named, is_removed =
  unpack(ask('SMISMEMBER', namespaces, PINNED, awaited, namespace, removed))
local greatest = ask('ZREVRANGEBYLEX', registry, '+', '(', 'LIMIT', 0, 1)[1]
local had_registry = greatest or ask('ZCARD', registry) ~= 0
local is_known = newest and (newest == greatest or ask('ZSCORE', registry, newest))
if wrong or is_removed == 1 then
  return refuse(wrong or HALF_REMOVED)
end
local had_namespaces = is_named == 1 or redis.call('EXISTS', namespaces) == 1

local is_again, was_registered = false, false
if had_document then
  local thread = redis.call('JSON.GET', document, '$.thread_id')
  -- A document without ids is what the Python saver leaves when writes come first.
  is_again = thread ~= '[]'
  if is_again
    and (thread ~= ARGV[7] or redis.call('JSON.GET', document, '$.checkpoint_ns') ~= ARGV[8]) then
    return refuse(redis.error_reply('LGFOREIGN ' .. document))
  end
  -- If the registry of its writes was lost, that can still be seen after it is put again.
  was_registered = is_again and is_registered(document)
  has_writes = has_writes or was_registered
end

-- Where the pointer names nothing, the newest document that is there counts. A greater id than the
-- pointer's and all registered ones is the newest in any case, so then nobody need look.
local is_ahead = newest and newest == greatest and expected == '' and less(newest, id)
if not newest or (newest ~= id and not is_ahead and redis.call('EXISTS', prefix .. newest) == 0) then
  local is_further
  newest, is_further = newest_of(registry, prefix)
  if is_further then
    return refuse(FURTHER)
  end
  is_known = newest
end
-- A checkpoint that is there already is put again after a lost reply; the expectation held then.
local conflict = not is_again and check_expected(expected, newest)
if conflict then
  return refuse(conflict)
end

ttl, whole = allowed_ttl(namespaces, ttl, whole, had_namespaces, pinned == 1)

if staged then
  redis.call('RENAME', staged, document)
else
  redis.call('JSON.SET', document, '$', json)
end
expire(document, ttl, not had_document and not staged)
local has_more = 0
if has_writes then
  redis.call('JSON.SET', document, '$.has_writes', 'true')
  -- Nothing of them goes before the document does.
  expire_early(writes, ttl)
  local page, own = redis.call('ZRANGE', writes, 0, 999), {}
  for _, key in ipairs(page) do
    if after(key, ARGV[10] .. id .. ':') then
      expire_early(key, ttl)
      own[#own + 1] = key
    end
  end
  -- Threads and namespaces with colons may share the registry with others, whose writes go by themselves.
  local thread, is_own = cjson.decode(ARGV[7])[1], was_registered or #own > 0
  if not was_registered and string.find(thread .. namespace .. id, ':', 1, true) then
    is_own = false
    for _, names in ipairs(names_of(own)) do
      is_own = is_own or (names and names[1] == thread and (names[2] == '' and '__empty__' or names[2]) == namespace)
    end
  end
  if is_own then
    redis.call('JSON.SET', document, '$.registered', 'true')
  end
  has_more = #page == 1000 and 1 or 0
end
-- Another saver moved the pointer without telling the registry: from now on the registry is
-- known to be incomplete (the empty member), until a reader has mended it from the index.
if newest and newest ~= id and not is_known then
  redis.call('ZADD', registry, 0, '')
end
redis.call('ZADD', registry, 0, id)
expire_shared(registry, ttl, not had_registry)
-- First in, then out: a set that is empty for a moment loses its TTL.
if is_named ~= 1 then
  redis.call('SADD', namespaces, namespace)
end
if is_awaited == 1 then
  redis.call('SREM', namespaces, awaited)
end
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
return { is_newest and 1 or 0, due, has_more, ttl }
