-- Moves a document to the key that its ids name, or removes one that has none.
--
-- KEYS  1 document  2 the key that its ids name; absent if it has none
-- ARGV  1 'fix' or 'look'  2 what it says at $.checkpoint_id, '[]' for nothing
-- Returns 'none' if nothing is wrong, 'found', 'fixed', or 'taken' if another document is there.
-- Twice: what was moved is not there to be moved again.
local says = redis.call('JSON.GET', KEYS[1], '$.checkpoint_id')
if says ~= ARGV[2] then
  return 'none'
end
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then
  return 'taken'
end
if ARGV[1] ~= 'fix' then
  return 'found'
end
if KEYS[2] then
  redis.call('RENAME', KEYS[1], KEYS[2])
else
  redis.call('UNLINK', KEYS[1])
end
return 'fixed'
