-- Registers blobs before they are stored. Until their checkpoint is stored as well, their score is
-- the time in seconds, so that nobody takes them for blobs that nothing names.
--
-- KEYS  1 registry of blobs
-- ARGV  1 TTL in ms, 0 for none  2… members
-- Returns how many are new.
-- Errors  LGWRONGTYPE key.
-- Idempotent: only the scores grow.
local registry, ttl = KEYS[1], tonumber(ARGV[1])
local had_registry = is_there(registry, 'zset')
if wrong then
  return wrong
end
local now = redis.call('TIME')[1]
local added = 0
for first = 2, #ARGV, 1000 do
  local members = {}
  for i = first, math.min(first + 999, #ARGV) do
    members[#members + 1] = now
    members[#members + 1] = ARGV[i]
  end
  added = added + redis.call('ZADD', registry, unpack(members))
end
expire_shared(registry, ttl, not had_registry)
return added
