-- Removes the bare flag that the Python saver leaves where writes came and their checkpoint never.
--
-- KEYS  1 document
-- ARGV  1 'fix' or 'look'
-- Returns 1 if the document is `{"has_writes":true}` and nothing more, else 0.
-- Idempotent: what is gone stays gone.
local names = redis.pcall('JSON.OBJKEYS', KEYS[1], '.')
if type(names) ~= 'table' or names.err or #names ~= 1 or names[1] ~= 'has_writes'
  or redis.call('JSON.GET', KEYS[1], '$.has_writes') ~= '[true]' then
  return 0
end
if ARGV[1] == 'fix' then
  redis.call('UNLINK', KEYS[1])
end
return 1
