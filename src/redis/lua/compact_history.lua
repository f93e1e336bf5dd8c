-- Reads the ancestors of a checkpoint, newest first, with their writes.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the namespace  2 id as in members to begin with, '' for the newest
--       3 1 to begin with the parent of it, else 0  4 most ancestors  5 most writes of one
-- Returns { id of the next ancestor, '' if there is none; for each { id; head; writes; 1 if there are more
-- of them, else 0 } }.
-- Errors  LGWRONGTYPE key, LGUNREADABLE key, LGLOST key.
-- Idempotent: it reads.
local namespace, id, skip, most, most_writes = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[5])
local BYTES = 1048576

if id == '' then
  local newest = newest_of(namespace)
  id = newest and id_in(checkpoint_of(heads, newest)) or ''
end
local found, bytes, lost = {}, 0, nil
while id ~= '' and #found < most and bytes < BYTES do
  local place = namespace .. id .. '\0'
  local member = at(heads, place, 1)[1]
  if not member then
    id = ''
    break
  end
  if not skip then
    local of = at(writes, place, most_writes + 1)
    lost = lost or #of == 0 and lost_writes()
    local more = 0
    if #of > most_writes then
      of[#of] = nil
      more = 1
    end
    for _, write in ipairs(of) do
      bytes = bytes + #write
    end
    bytes = bytes + #member
    found[#found + 1] = { id, string.sub(member, #place + 1), of, more }
  end
  skip = false
  id = string.sub(member, #place + 6, #place + 5 + number_at(member, #place + 2, 4))
end
table.insert(found, 1, id)
return wrong or lost or found
