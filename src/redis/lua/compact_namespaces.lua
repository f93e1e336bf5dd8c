-- Reads what a thread has: how many checkpoints, and a page of its namespaces.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the namespace that was read last, '' for none  2 most namespaces
-- Returns { number of checkpoints; PTTL of the thread; namespaces as in members, each with its newest id },
-- where fewer namespaces than asked for are the last.
-- Errors  LGWRONGTYPE key, LGUNREADABLE key.
-- Idempotent: it reads.
local last, most = ARGV[1], tonumber(ARGV[2])

local found = {}
local lower = last == '' and '-' or '[' .. string.sub(last, 1, -2) .. '\1'
while #found < 2 * most do
  local member = ask('ZRANGEBYLEX', heads, lower, '+', 'LIMIT', 0, 1)[1]
  if not member then
    break
  end
  local namespace = up_to(heads, member, 1)
  local newest = newest_of(namespace)
  if wrong or not newest then
    break
  end
  found[#found + 1] = string.sub(namespace, 1, -2)
  found[#found + 1] = id_in(checkpoint_of(heads, newest))
  lower = '[' .. string.sub(namespace, 1, -2) .. '\1'
end
return wrong or { ask('ZCARD', heads), redis.call('PTTL', heads), found }
