-- Removes the writes of a checkpoint that never came.
--
-- KEYS  1 registry of the checkpoint's writes  2 document  3 set of namespaces
-- ARGV  1 'fix' or 'look'  2 namespace, as stored  3 checkpoint id  4 how many writes there were
--       5 prefix of the keys of its writes
-- Returns 1 if it has no document and its writes are as they were and have no TTL, else 0.
-- Twice: what is gone stays gone.
local registry, document, namespaces = unpack(KEYS)
if redis.call('EXISTS', document) == 1 or redis.call('PTTL', registry) ~= -1
  or redis.call('ZCARD', registry) ~= tonumber(ARGV[4])
  or redis.call('SISMEMBER', namespaces, PINNED) == 1 then
  return 0
end
if ARGV[1] == 'fix' then
  for _, key in ipairs(redis.call('ZRANGE', registry, 0, -1)) do
    if after(key, ARGV[5]) then
      redis.call('UNLINK', key)
    end
  end
  redis.call('UNLINK', registry)
  redis.call('SREM', namespaces, '\0writes\0' .. ARGV[2] .. '\0' .. ARGV[3])
end
return 1
