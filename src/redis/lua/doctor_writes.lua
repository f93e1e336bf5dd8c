-- Takes writes out of a registry that are gone.
--
-- KEYS  1 registry of a checkpoint's writes
-- ARGV  1 'fix' or 'look'  2… members of the registry
-- Returns how many of them are gone.
-- Idempotent: what is out stays out.
local gone = 0
for i = 2, #ARGV do
  if redis.call('EXISTS', ARGV[i]) == 0 and redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    gone = gone + 1
    if ARGV[1] == 'fix' then
      redis.call('ZREM', KEYS[1], ARGV[i])
    end
  end
end
return gone
