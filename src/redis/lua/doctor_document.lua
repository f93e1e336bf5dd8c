-- Looks at one document of a checkpoint.
--
-- KEYS  1 document  2 registry of checkpoints  3 set of namespaces  4… registries of its writes
-- ARGV  1 'fix' or 'look'  2 TTL in ms that the document should have, 0 for any or none
--       3 namespace, as stored  4 checkpoint id  5 what the document says of whose it is
-- Returns what is wrong: 'unregistered', 'ttl', 'flag', 'unsure'.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is right stays so.
local document, registry, namespaces = unpack(KEYS)
local fix, ttl = ARGV[1] == 'fix', tonumber(ARGV[2])
is_there(registry, 'zset')
is_there(namespaces, 'set')
local has_writes = false
for i = 4, #KEYS do
  has_writes = is_there(KEYS[i], 'zset') or has_writes
end
if wrong then
  return wrong
end
local found = {}
local left = redis.call('PTTL', document)
if left == -2 or says(document) ~= ARGV[5] then
  return found
end
local unsure = ttl > 0 and is_unsure(namespaces, registry)
left = mend_ttl(found, fix, document, left, ttl, namespaces, unsure)
if not redis.call('ZSCORE', registry, ARGV[4]) then
  found[#found + 1] = 'unregistered'
  if fix then
    register_in(registry, left, 0, ARGV[4])
    if not unsure then
      list_in(namespaces, left, ARGV[3])
    end
  end
end
local right = has_writes and '[true]' or '[false]'
local flag = redis.call('JSON.GET', document, '$.has_writes')
-- A document that says nothing means that there are none; and those of a registry that it may share, for it
-- has a colon in its ids, may be of another thread.
local is_shared = string.find(ARGV[5], ':', 1, true)
if flag ~= right and (has_writes and not is_shared or flag ~= '[]' and not has_writes) then
  found[#found + 1] = 'flag'
  if fix then
    redis.call('JSON.SET', document, '$.has_writes', has_writes and 'true' or 'false')
  end
end
-- A document that says that its writes are registered lacks them all: what is gone is forgotten, so
-- that the rest can be read.
if not has_writes and is_registered(document) then
  if found[#found] ~= 'flag' then
    found[#found + 1] = 'flag'
  end
  if fix then
    redis.call('JSON.SET', document, '$.registered', 'false')
  end
end
return found
