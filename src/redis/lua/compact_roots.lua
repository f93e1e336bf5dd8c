-- Reads which parts the heads or the writes of a thread name: a page of them.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 'heads' or 'writes'  2 place to go on behind, '' for none  3 most members to look at
-- Returns { version of the thread, '' for none; place to go on behind, '' after the last; roots, each with
-- its level in front }.
-- Errors  LGWRONGTYPE key, LGUNREADABLE key.
-- Idempotent: it reads.
local kind, last, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

local key = kind == 'heads' and heads or writes
local lower = last == '' and '-' or '(' .. last .. '\255'
local page = ask('ZRANGEBYLEX', key, lower, '+', 'LIMIT', 0, most)
local version = ask('HGET', parts, 'version') or ''
local list, roots, seen = {}, {}, {}
last = ''
for _, member in ipairs(page) do
  local place = checkpoint_of(key, member)
  if kind == 'heads' then
    append_roots(list, member, roots_of_head(member, #place + 1))
    last = place
  else
    local first = roots_of_record(member, place)
    append_roots(list, member, first)
    last = string.sub(member, 1, first - 2)
  end
end
for _, root in ipairs(list) do
  if not seen[root] then
    seen[root] = true
    roots[#roots + 1] = root
  end
end
return wrong or { version, #page == most and last or '', roots }
