-- Removes writes that the registry of their checkpoint does not name.
--
-- KEYS  1 registry of the checkpoint's writes  2… keys of writes
-- ARGV  1 thread that the writes must say they are of
-- Returns how many were removed.
-- Idempotent: what is gone stays gone, and what is named stays.
local registry = KEYS[1]
local is_registry = redis.call('TYPE', registry).ok == 'zset'
local removed = 0
for i = 2, #KEYS do
  local key = KEYS[i]
  if not (is_registry and redis.call('ZSCORE', registry, key)) and redis.call('TYPE', key).ok == 'ReJSON-RL' then
    local names = names_of({ key })[1]
    if names and names[1] == ARGV[1] then
      removed = removed + redis.call('UNLINK', key)
    end
  end
end
return removed
