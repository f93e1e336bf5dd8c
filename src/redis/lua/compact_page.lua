-- Reads a page of the ids of a namespace.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the namespace  2 'newest' or 'oldest': which come first
--       3 id as in members before which the page begins, '' for none  4 most ids
-- Returns { 1 if there may be more, else 0; ids as in members }.
-- Errors  LGWRONGTYPE key, LGUNREADABLE key.
-- Idempotent: it reads.
local namespace, order, start, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local BYTES = 1048576

local ids, bytes, more = {}, 0, 1
while #ids < most and bytes < BYTES and more == 1 and not wrong do
  local asked = math.min(32, most - #ids)
  local page
  if order == 'newest' then
    local upper = start == '' and to(namespace) or '(' .. namespace .. start
    page = ask('ZREVRANGEBYLEX', heads, upper, from(namespace), 'LIMIT', 0, asked)
  else
    local lower = start == '' and from(namespace) or '(' .. namespace .. start .. '\1'
    page = ask('ZRANGEBYLEX', heads, lower, to(namespace), 'LIMIT', 0, asked)
  end
  for _, member in ipairs(page) do
    start = id_in(checkpoint_of(heads, member))
    ids[#ids + 1] = start
    bytes = bytes + #member
  end
  more = #page == asked and 1 or 0
end
return wrong or { more, ids }
