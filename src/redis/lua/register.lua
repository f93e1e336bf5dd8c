-- Registers checkpoints that another saver wrote.
--
-- KEYS  1 registry of checkpoints  2 set of namespaces
-- ARGV  1 namespace, as stored  2 prefix of the namespace's documents
--       3 'complete' to say that the registry names all from now on, else ''  4… ids
-- Returns how many were added.
-- Idempotent: adds nothing more.
local registry, namespaces = unpack(KEYS)
local had_registry = redis.call('EXISTS', registry) == 1
local had_namespaces = redis.call('EXISTS', namespaces) == 1
local added, longest = 0, -2
for i = 4, #ARGV do
  local left = redis.call('PTTL', ARGV[2] .. ARGV[i])
  if left ~= -2 then
    added = added + redis.call('ZADD', registry, 0, ARGV[i])
    if left == -1 or longest == -1 then
      longest = -1
    else
      longest = math.max(longest, left)
    end
  end
end
if ARGV[3] == 'complete' then
  redis.call('ZREM', registry, '')
end
if longest ~= -2 then
  redis.call('SADD', namespaces, ARGV[1])
  expire_shared(registry, as_long_as(longest), not had_registry)
  expire_shared(namespaces, as_long_as(longest), not had_namespaces)
end
return added
