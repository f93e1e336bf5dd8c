-- Takes blobs out of their registry whose checkpoint was stored once, or never came.
--
-- KEYS  1 registry of blobs
-- ARGV  1 how many seconds a checkpoint is waited for  2… members
-- Returns the members that were taken out, whose blobs can be removed.
-- Idempotent: what is gone stays gone.
local registry = KEYS[1]
local before = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1])
local taken = {}
for i = 2, #ARGV do
  local since = tonumber(redis.call('ZSCORE', registry, ARGV[i]) or before)
  if since == 0 or since < before then
    redis.call('ZREM', registry, ARGV[i])
    taken[#taken + 1] = ARGV[i]
  end
end
return taken
