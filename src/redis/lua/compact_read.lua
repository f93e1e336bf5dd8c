-- Reads a checkpoint, or the newest of a namespace, with its writes and its parts.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the namespace  2 place of the checkpoint, '' for the newest
--       3 TTL in ms that the thread is to have at least, 0 to leave it  4 most writes
--       5 place of a checkpoint whose parts the caller has, '' for none, '-' for any
-- Returns nothing if there is none, else { id as in members; head; writes; 1 if there are more of them,
-- else 0; parts, each behind its digest }. The parts are the index parts, and the leaves if these are
-- few; not all of them if they are many.
-- Errors  LGWRONGTYPE key, LGUNREADABLE key, LGLOST key.
-- Idempotent: it reads, and gives the same TTL.
local namespace, place, ttl, most, known = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local INDEXES, LEAVES = 400, 16

local member
if place == '' then
  member = newest_of(namespace)
else
  member = at(heads, place, 1)[1]
end
if not member then
  return wrong or {}
end
place = checkpoint_of(heads, member)
local found = at(writes, place, most + 1)
local lost = #found == 0 and lost_writes()
if wrong or lost then
  return wrong or lost
end
local more = 0
if #found > most then
  found[#found] = nil
  more = 1
end

local fetched = {}
if known ~= '-' and known ~= place then
  local pending = {}
  append_roots(pending, member, roots_of_head(member, #place + 1))
  for _, write in ipairs(found) do
    append_roots(pending, write, roots_of_record(write, place))
  end
  local seen, leaves, indexes, i = {}, {}, 0, 1
  while pending[i] do
    local part = pending[i]
    i = i + 1
    if not seen[part] then
      seen[part] = true
      local digest = string.sub(part, 2)
      if string.byte(part) == 0 then
        leaves[#leaves + 1] = digest
      elseif indexes < INDEXES then
        indexes = indexes + 1
        local stored = ask('HGET', parts, digest)
        if wrong then
          return wrong
        end
        if stored then
          fetched[#fetched + 1] = digest
          fetched[#fetched + 1] = stored
          append_children(pending, stored)
        end
      end
    end
  end
  if #leaves > 0 and #leaves <= LEAVES then
    for j, stored in ipairs(ask('HMGET', parts, unpack(leaves))) do
      if stored then
        fetched[#fetched + 1] = leaves[j]
        fetched[#fetched + 1] = stored
      end
    end
  end
  if wrong then
    return wrong
  end
end
if ttl > 0 then
  local left = time_left()
  if left < ttl then
    keep(left, ttl)
  end
end
return { id_in(place), string.sub(member, #place + 1), found, more, fetched }
