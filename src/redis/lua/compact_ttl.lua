-- Changes the TTL of a thread.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 'touch' for a thread that has a TTL, 'pin' to take it away, 'unpin' to give one in any case
--       2 TTL in ms
-- Returns 1 if the thread is there, else 0.
-- Idempotent: the TTL is given again.
local verb, ttl = ARGV[1], tonumber(ARGV[2])

local left = time_left()
if left == -2 then
  return 0
end
for _, key in ipairs(KEYS) do
  if verb == 'pin' then
    redis.call('PERSIST', key)
  elseif verb == 'unpin' or left ~= -1 then
    redis.call('PEXPIRE', key, ttl)
  end
end
return 1
