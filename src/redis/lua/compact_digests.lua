-- Reads the digests of the parts that a thread has, each with its level in front: a page of them.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 cursor, 0 to begin
-- Returns { cursor to go on with, 0 after the last; digests }.
-- Errors  LGWRONGTYPE key.
-- Idempotent: it reads.
local page = ask('HSCAN', parts, ARGV[1], 'COUNT', 200)
if wrong then
  return wrong
end
local digests = {}
for i = 1, #page[2], 2 do
  if #page[2][i] == 16 then
    digests[#digests + 1] = string.char(level_of(page[2][i + 1])) .. page[2][i]
  end
end
return { page[1], digests }
