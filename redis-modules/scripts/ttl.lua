-- Changes the TTL of a namespace's checkpoints with their writes, and of what they share.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest  3 set of namespaces
-- ARGV  1 prefix of the namespace's documents  2 prefix of the registries of its writes
--       3 prefix of the keys of its writes  4 TTL in ms, 0 for none
--       5 'pin', 'unpin', 'touch', or for a thread that is kept whole 'keep' all but the set of
--       namespaces and, when that is done, 'kept' the set  6… ids
-- Returns how many documents there were.
-- Twice: the TTL is the same, counted from the second run.
local registry, pointer, namespaces = unpack(KEYS)
local ttl, verb = tonumber(ARGV[4]), ARGV[5]

if verb == 'pin' then
  redis.call('SADD', namespaces, PINNED)
elseif verb == 'unpin' then
  redis.call('SREM', namespaces, PINNED)
elseif redis.call('SISMEMBER', namespaces, PINNED) == 1 then
  ttl = 0
end

-- What is kept for ever stays so when it is touched, and what has no TTL to get back keeps its own.
local function change(key)
  if verb == 'touch' then
    if ttl > 0 and redis.call('PTTL', key) > 0 then
      redis.call('PEXPIRE', key, ttl)
    end
  elseif verb == 'keep' then
    expire_shared(key, ttl, false)
  elseif verb == 'pin' or ttl > 0 then
    expire(key, ttl)
  end
end

if verb == 'kept' then
  expire_shared(namespaces, ttl, false)
  return 0
end

local found = 0
for i = 6, #ARGV do
  local id = ARGV[i]
  local writes = ARGV[2] .. id
  found = found + redis.call('EXISTS', ARGV[1] .. id)
  change(ARGV[1] .. id)
  for _, key in ipairs(redis.call('ZRANGE', writes, 0, -1)) do
    if after(key, ARGV[3] .. id .. ':') then
      change(key)
    end
  end
  change(writes)
end
change(registry)
change(pointer)
if verb ~= 'keep' then
  change(namespaces)
end
return found
