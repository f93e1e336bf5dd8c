-- Tells what a thread has.
--
-- KEYS  1 set of namespaces
-- ARGV  1 what stands before a namespace in the key of its registry
-- Returns { how many checkpoints are registered, member… } of all namespaces; -1 if a registry is
-- known to be incomplete.
-- Errors  LGWRONGTYPE key.
local members = ask('SMEMBERS', KEYS[1])
local total = 0
for _, member in ipairs(members) do
  if string.sub(member, 1, 1) ~= '\0' then
    local registry = ARGV[1] .. member
    if total < 0 or ask('ZSCORE', registry, '') then
      total = -1
    else
      total = total + redis.call('ZCARD', registry)
    end
  end
end
if wrong then
  return wrong
end
table.insert(members, 1, total)
return members
