-- Removes some of the writes of a checkpoint that never came.
--
-- KEYS  1 registry of the checkpoint's writes  2 document  3 set of namespaces
--       4 registry of checkpoints
-- ARGV  1 'fix' or 'look'  2 namespace, as stored  3 checkpoint id  4 how many members the registry
--       has  5 what the writes say of whose they are  6… keys of writes
-- Returns how many of them wait for a checkpoint that has no document, and have no TTL; 0 if others
-- have written since.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is gone stays gone.
local registry, document, namespaces, checkpoints = unpack(KEYS)
is_there(registry, 'zset')
is_there(namespaces, 'set')
is_there(checkpoints, 'zset')
if wrong then
  return wrong
end
if redis.call('EXISTS', document) == 1 or redis.call('PTTL', registry) ~= -1
  or redis.call('ZCARD', registry) ~= tonumber(ARGV[4])
  or redis.call('SISMEMBER', namespaces, PINNED) == 1 or is_unsure(namespaces, checkpoints) then
  return 0
end
local found = 0
for i = 6, #ARGV do
  local write = ARGV[i]
  if redis.call('ZSCORE', registry, write) and says(write) == ARGV[5]
    and redis.call('PTTL', write) == -1 then
    found = found + 1
    if ARGV[1] == 'fix' then
      redis.call('UNLINK', write)
      redis.call('ZREM', registry, write)
    end
  end
end
if ARGV[1] == 'fix' and redis.call('EXISTS', registry) == 0 then
  local marked = ARGV[2] .. '\0' .. ARGV[3]
  redis.call('SREM', namespaces, '\0writes\0' .. marked, '\0removed\0' .. marked)
end
return found
