-- Reads what index parts name.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  digests of index parts
-- Returns the children, each with its level in front; those of parts that are gone are left out.
-- Errors  LGWRONGTYPE key.
-- Idempotent: it reads.
local children = {}
for _, part in ipairs(ask('HMGET', parts, unpack(ARGV))) do
  if part then
    append_children(children, part)
  end
end
return wrong or children
