-- Finds the places of writes whose checkpoints are not there, and the namespaces that have blobs.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place that was looked at last, '' for none  2 most places to look at
-- Returns { place to go on from, '' after the last; places; namespaces as in members }.
-- Errors  LGWRONGTYPE key, LGUNREADABLE key, LGLOST key.
-- Idempotent: it reads.
local last, most = ARGV[1], tonumber(ARGV[2])

local found, blobs = {}, {}
local lower = last == '' and '-' or '[' .. string.sub(last, 1, -2) .. '\1'
local lost = last == '' and lost_writes()
for _ = 1, most do
  local member = ask('ZRANGEBYLEX', writes, lower, '+', 'LIMIT', 0, 1)[1]
  if not member then
    last = ''
    break
  end
  last = checkpoint_of(writes, member)
  if wrong then
    break
  end
  if id_in(last) == '' then
    blobs[#blobs + 1] = string.sub(last, 1, -3)
  elseif not at(heads, last, 1)[1] then
    found[#found + 1] = last
  end
  lower = '[' .. string.sub(last, 1, -2) .. '\1'
end
return wrong or lost or { last, found, blobs }
