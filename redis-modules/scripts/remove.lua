-- Removes checkpoints of a namespace with their writes.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest  3 set of namespaces
-- ARGV  1 prefix of the namespace's documents  2 prefix of the registries of its writes
--       3 prefix of the keys of its writes  4 prefix of further registries, '' for none
--       5 namespace, as stored  6… ids
-- Returns { how many documents were removed, how many writes were removed }.
-- Twice: what is gone stays gone.
local registry, pointer, namespaces = unpack(KEYS)
local prefix, namespace = ARGV[1], ARGV[5]
local documents, removed_writes = 0, 0

for i = 6, #ARGV do
  local id = ARGV[i]
  local registries = { ARGV[2] .. id }
  if ARGV[4] ~= '' then
    registries[2] = ARGV[4] .. id
  end
  for position, writes in ipairs(registries) do
    local keys = redis.call('ZRANGE', writes, 0, -1)
    for _, key in ipairs(keys) do
      if after(key, ARGV[3] .. id .. ':') then
        removed_writes = removed_writes + redis.call('UNLINK', key)
        if position == 2 then
          redis.call('ZREM', writes, key)
        end
      end
    end
    if position == 1 then
      redis.call('UNLINK', writes)
    end
  end
  documents = documents + redis.call('UNLINK', prefix .. id)
  redis.call('ZREM', registry, id)
  redis.call('SREM', namespaces, '\0writes\0' .. namespace .. '\0' .. id)
end

local target = redis.call('GET', pointer)
if target and redis.call('EXISTS', target) == 0 then
  local newest = newest_of(registry, prefix)
  if newest then
    redis.call('SET', pointer, prefix .. newest)
    expire(pointer, as_long_as(redis.call('PTTL', prefix .. newest)))
  else
    redis.call('UNLINK', pointer)
  end
end
if redis.call('ZREVRANGEBYLEX', registry, '+', '(', 'LIMIT', 0, 1)[1] == nil then
  redis.call('UNLINK', registry)
  -- Of very many members not each is looked at; then the namespace stays listed for now.
  local start, awaited = '\0writes\0' .. namespace .. '\0', redis.call('SCARD', namespaces) > 1000
  if not awaited then
    for _, member in ipairs(redis.call('SMEMBERS', namespaces)) do
      awaited = awaited or after(member, start) ~= nil
    end
  end
  if not awaited then
    redis.call('SREM', namespaces, namespace)
  end
  if redis.call('SCARD', namespaces) == 1 and redis.call('SISMEMBER', namespaces, PINNED) == 1 then
    -- A pin ends with its thread.
    redis.call('UNLINK', namespaces)
  end
end
return { documents, removed_writes }
