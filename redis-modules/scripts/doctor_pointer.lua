-- Removes a pointer that names nothing and that no registry can put right.
--
-- KEYS  1 pointer  2… the registries that it may belong to
-- ARGV  1 'fix' or 'look'
-- Returns 1 if it names nothing, else 0.
-- Twice: what is gone stays gone.
local target = redis.call('GET', KEYS[1])
if not target or redis.call('EXISTS', target) == 1 then
  return 0
end
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    return 0
  end
end
if ARGV[1] == 'fix' then
  redis.call('UNLINK', KEYS[1])
end
return 1
