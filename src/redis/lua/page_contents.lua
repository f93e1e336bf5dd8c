-- Reads a page of a namespace's checkpoint ids, newest first, and what the first of them hold.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest
-- ARGV  1 upper end of the range: '+', or '(' and an id  2 how many
--       3 prefix of the namespace's documents  4 prefix of the registries of its writes
--       5 prefix of the keys of its writes  6 prefix of further registries of its writes, '' for none
-- Returns { state, id…, contents… }: state as `page` has it; the contents of the first ids are
-- { document, write… }, or empty where the caller must read the checkpoint by itself.
-- Errors  LGWRONGTYPE key.
-- Idempotent: it changes nothing.
local registry, pointer = unpack(KEYS)
local page = page_of(registry, pointer, ARGV[3], ARGV[1], ARGV[2])
if wrong then
  return wrong
end
local last, left, bytes = #page, some_writes(), 65536
for i = 2, last do
  if bytes <= 0 or left.writes <= 0 or left.bytes <= 0 then
    break
  end
  local id, contents = page[i], {}
  local document = ask('JSON.GET', ARGV[3] .. id)
  if type(document) == 'string' then
    contents[1] = document
    bytes = bytes - #document
    local shared = ARGV[6] ~= '' and ARGV[6] .. id
    local keys, gone = append_all_writes(contents, ARGV[4] .. id, shared, ARGV[5] .. id .. ':', left)
    if not keys or gone then
      contents = {}
    end
  end
  if wrong then
    contents, wrong = {}, nil
  end
  page[#page + 1] = contents
end
return page
