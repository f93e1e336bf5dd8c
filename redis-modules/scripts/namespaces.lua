-- Tells what a thread has.
--
-- KEYS  1 set of namespaces
-- ARGV  1 what stands before a namespace in the key of its registry
-- Returns { how many checkpoints are registered, member… } of all namespaces.
local members = redis.call('SMEMBERS', KEYS[1])
local total = 0
for _, member in ipairs(members) do
  if string.sub(member, 1, 1) ~= '\0' then
    total = total + redis.call('ZCARD', ARGV[1] .. member)
  end
end
table.insert(members, 1, total)
return members
