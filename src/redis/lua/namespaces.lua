-- Reads a page of what a thread has.
--
-- KEYS  1 set of namespaces
-- ARGV  1 what stands before a namespace in the key of its registry
--       2 cursor, '0' for the first page  3 about how many members
-- Returns { cursor of the next page, '0' if this was the last; member, how many checkpoints it
-- registers… }: -1 for a namespace whose registry is known to be incomplete, 0 for any other member.
-- A member may be in more than one page.
-- Errors  LGWRONGTYPE key.
-- Idempotent: it changes nothing.
local page = ask('SSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local result = { page[1] }
for _, member in ipairs(page[2] or {}) do
  local registered = 0
  if string.sub(member, 1, 1) ~= '\0' then
    local registry = ARGV[1] .. member
    registered = ask('ZSCORE', registry, '') and -1 or redis.call('ZCARD', registry)
  end
  if wrong then
    return wrong
  end
  result[#result + 1] = member
  result[#result + 1] = registered
end
return wrong or result
