-- Reads the checkpoint of a namespace in shallow mode with its writes.
--
-- KEYS  1 document  2 registry of writes  3 set of namespaces  4… further registries of writes
-- ARGV  1 thread  2 namespace  3 namespace, as stored  4 prefix of the keys of its writes
--       5 id, '' for any  6 TTL in ms to give to what was read, 0 to leave it
--       7 'all' for the writes of all checkpoints, as a copy needs them, also without a document
-- Returns { document or '', writes… }; an empty list if there is none.
-- Errors  LGWRONGTYPE key.
-- Idempotent: reading changes nothing but TTLs.
local document, registry, namespaces = unpack(KEYS)
local registries = { registry, unpack(KEYS, 4) }
local thread, namespace, prefix = ARGV[1], ARGV[2], ARGV[4]
local id, ttl, all = ARGV[5], tonumber(ARGV[6]), ARGV[7] == 'all'

is_there(document, 'ReJSON-RL')
if wrong then
  return wrong
end
local found = names_of({ document })[1]
if not found or found[1] ~= thread or not is_namespace(found[2], namespace)
  or type(found[3]) ~= 'string' or (id ~= '' and found[3] ~= id) then
  found = nil
end
if not found and not all then
  return {}
end
local result = { found and redis.call('JSON.GET', document) or '' }
if not all then
  prefix = prefix .. found[3] .. ':'
end
local keys = {}
local all_of_them = { writes = 2 ^ 31, bytes = math.huge }
for _, writes in ipairs(registries) do
  for _, key in ipairs(append_writes(result, writes, prefix, all_of_them) or {}) do
    keys[#keys + 1] = key
  end
end

if wrong then
  return wrong
end

-- A document without a TTL is pinned, or kept for ever; reading it does not give it one.
if ttl > 0 and redis.call('PTTL', document) ~= -1 then
  redis.call('PEXPIRE', document, ttl)
  for _, key in ipairs(keys) do
    redis.call('PEXPIRE', key, ttl, 'XX')
  end
  for _, writes in ipairs(registries) do
    redis.call('PEXPIRE', writes, ttl, 'GT')
  end
  redis.call('PEXPIRE', namespaces, ttl, 'GT')
end
return result
