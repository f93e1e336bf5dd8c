-- Reads a page of a namespace's checkpoint ids, newest first.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest
-- ARGV  1 upper end of the range: '+', or '(' and an id  2 how many
--       3 prefix of the namespace's documents
-- Returns { state, id… }: state 'complete', or 'incomplete' if another saver wrote checkpoints
-- that the registry does not name.
-- Errors  LGWRONGTYPE key.
-- Idempotent: it changes nothing.
local registry, pointer = unpack(KEYS)
local page = page_of(registry, pointer, ARGV[3], ARGV[1], ARGV[2])
if wrong then
  return wrong
end
return page
