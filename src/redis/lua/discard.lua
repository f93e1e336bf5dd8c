-- Removes a key that holds a value of another type than it should.
--
-- KEYS  1 the key
-- ARGV  1 the type that it should be of
-- Returns 1 if it was removed, else 0.
-- Idempotent: what is gone stays gone.
local found = redis.call('TYPE', KEYS[1]).ok
if found == 'none' or found == ARGV[1] then
  return 0
end
return redis.call('UNLINK', KEYS[1])
