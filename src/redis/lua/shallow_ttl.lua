-- Changes the TTL of a namespace in shallow mode: of its checkpoint, its writes, and of what the
-- thread shares.
--
-- KEYS  1 document  2 registry of writes  3 set of namespaces  4… further registries of writes
-- ARGV  1 thread  2 namespace  3 namespace, as stored  4 prefix of the keys of its writes
--       5 TTL in ms, 0 for none  6 'pin', 'unpin' or 'touch'
-- Returns how many documents and writes there were.
-- Idempotent: the TTL is the same, counted from the second run.
local document, registry, namespaces = unpack(KEYS)
local all_registries = { registry, unpack(KEYS, 4) }
local thread, namespace, stored, prefix = unpack(ARGV)
local ttl, verb = tonumber(ARGV[5]), ARGV[6]

local keys = {}
local found = names_of({ document })[1]
if found and found[1] == thread and is_namespace(found[2], namespace) then
  keys[1] = document
end
local registries = {}
for _, writes in ipairs(all_registries) do
  local own = own_writes(writes, prefix, thread, namespace, math.huge, function()
    return true
  end)
  for _, key in ipairs(own) do
    keys[#keys + 1] = key
  end
  if #own > 0 then
    registries[#registries + 1] = writes
  end
end
if #keys == 0 then
  return 0
end
local count = #keys
for _, writes in ipairs(registries) do
  keys[#keys + 1] = writes
end
keys[#keys + 1] = namespaces

if verb == 'pin' then
  -- The Python saver has no such set, and the mark needs one.
  redis.call('SADD', namespaces, PINNED, stored)
elseif verb == 'unpin' then
  redis.call('SREM', namespaces, PINNED)
elseif redis.call('SISMEMBER', namespaces, PINNED) == 1 then
  return count
end
for _, key in ipairs(keys) do
  if verb == 'pin' then
    redis.call('PERSIST', key)
  elseif ttl > 0 and (verb == 'unpin' or redis.call('PTTL', key) ~= -1) then
    -- What is kept for ever stays so when it is touched.
    redis.call('PEXPIRE', key, ttl)
  end
end
return count
