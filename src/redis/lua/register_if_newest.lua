-- Registers a checkpoint unless the registry names a newer one than the caller expects.
--
-- KEYS  1 registry of checkpoints
-- ARGV  1 id  2 the expected newest, '' for none  3 TTL in ms, 0 for none
--       4… ids that are newer than the expected one and whose documents are gone
-- Returns an empty list if the checkpoint is registered, else newer ids, the newest first.
-- Idempotent: a checkpoint that is registered already stays so, whatever has become the newest.
local registry, id, expected = KEYS[1], ARGV[1], ARGV[2]
if not redis.call('ZSCORE', registry, id) then
  local gone = {}
  for i = 4, #ARGV do
    gone[ARGV[i]] = true
  end
  local newer = {}
  for _, other in ipairs(redis.call('ZREVRANGEBYLEX', registry, '+', '(' .. expected, 'LIMIT', 0, 100 + #ARGV)) do
    if not gone[other] then
      newer[#newer + 1] = other
    end
  end
  if #newer > 0 then
    return newer
  end
  for other in pairs(gone) do
    redis.call('ZREM', registry, other)
  end
end
-- A registry that has lost its last member is made again, and has no TTL.
local was_there = redis.call('EXISTS', registry) == 1
redis.call('ZADD', registry, 0, id)
expire_shared(registry, tonumber(ARGV[3]), not was_there)
return {}
