-- Stores the one checkpoint that a namespace has in shallow mode, unless a newer one is there, and
-- removes the writes that it has consumed: those of older checkpoints.
--
-- KEYS  1 document  2 registry of writes  3 set of namespaces  4… further registries of writes
-- ARGV  1 thread  2 namespace  3 namespace, as stored  4 prefix of the keys of its writes
--       5 document (JSON)  6 id  7 TTL in ms, 0 for none
--       8 expected newest: '' anything, '-' none, '=ID', or '~ID' for that or none
-- Returns 1 if it is stored now, 0 if a newer one is there.
-- Errors  LGWRONGTYPE key, LGFOREIGN key, LGCONFLICT newest id, LGHALFREMOVED.
-- Idempotent: the document is the same, and what was removed stays so. If another writer was faster in
-- between, the expectation fails or the call changes nothing, as if it had run before that.
local document, registry, namespaces = unpack(KEYS)
local registries = { registry, unpack(KEYS, 4) }
local thread, namespace, stored, prefix, json, id = unpack(ARGV)
local ttl, expected = tonumber(ARGV[7]), ARGV[8]
local parent = after(expected, '~')

is_there(document, 'ReJSON-RL')
local had_namespaces = is_there(namespaces, 'set')
for _, writes in ipairs(registries) do
  is_there(writes, 'zset')
end
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
local newest = found and found[3] or nil
-- A checkpoint that is there already is put again after a lost reply; the expectation held then.
local conflict = newest ~= id and check_expected(parent and '' or expected, newest)
if conflict then
  return conflict
end
if newest and less(id, newest) then
  return 0
end
-- What the caller did not go on from, it has not read, so it may not replace it.
conflict = parent and newest and newest ~= id and check_expected('=' .. parent, newest)
if conflict then
  return conflict
end

if pinned == 1 then
  ttl = 0
end
-- If a write or the registry was lost, that can still be seen after it is put again.
local registered = newest == id and is_registered(document)
redis.call('JSON.SET', document, '$', json)
expire(document, ttl)
redis.call('SADD', namespaces, stored)
expire_shared(namespaces, ttl, not had_namespaces)

local function is_older(other)
  return type(other) == 'string' and less(other, id)
end
-- Where there are more, the next calls go on.
local left = 1000
for _, writes in ipairs(registries) do
  if left > 0 then
    local own, gone = own_writes(writes, prefix, thread, namespace, left, is_older)
    remove_writes(writes, own, gone)
    left = left - #own - #gone
  end
end
-- Its own came early, and nothing of them goes before the document does.
local page, own = redis.call('ZRANGE', registry, 0, 999), {}
for _, key in ipairs(page) do
  if after(key, prefix .. id .. ':') then
    own[#own + 1] = key
  end
end
for i, names in ipairs(names_of(own)) do
  if names and names[1] == thread and is_namespace(names[2], namespace) then
    expire_early(own[i], ttl)
    registered = registered or #page < 1000
  end
end
if registered then
  expire_shared(registry, ttl, false)
  redis.call('JSON.SET', document, '$.registered', 'true')
end
return 1
