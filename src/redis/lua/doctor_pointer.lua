-- Removes a pointer that names nothing and that no registry can put right.
--
-- KEYS  1 pointer  2… the registries that it may belong to
-- ARGV  1 'fix' or 'look'  2 prefix of the documents that it may name
-- Returns 1 if it names a document of ours that is not there, 2 if it names none of ours, else 0.
-- Idempotent: what is gone stays gone.
local target = redis.call('GET', KEYS[1])
if not target then
  return 0
end
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    return 0
  end
end
if #KEYS == 1 or not after(target, ARGV[2]) then
  return 2
end
if redis.call('EXISTS', target) == 1 then
  return 0
end
if ARGV[1] == 'fix' then
  redis.call('UNLINK', KEYS[1])
end
return 1
