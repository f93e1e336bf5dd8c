-- Looks at members of a thread's set of namespaces.
--
-- KEYS  1 set of namespaces
-- ARGV  1 'fix' or 'look'  2… threes: a member, its namespace as stored, and the registry that it
--       stands for ('' for the mark of a pinned thread)
-- Returns the members that stand for nothing, and those whose namespace is not listed.
-- Twice: what is right stays so.
local namespaces, fix = KEYS[1], ARGV[1] == 'fix'
local found = {}

local function has_writes(namespace)
  local start = '\0writes\0' .. namespace .. '\0'
  for _, member in ipairs(redis.call('SMEMBERS', namespaces)) do
    if after(member, start) then
      return true
    end
  end
  return false
end

for i = 2, #ARGV, 3 do
  local member, namespace, registry = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('SISMEMBER', namespaces, member) == 1 then
    local stale, unlisted
    if registry == '' then
      stale = redis.call('SCARD', namespaces) == 1
    elseif member == namespace then
      stale = redis.call('EXISTS', registry) == 0 and not has_writes(namespace)
    else
      stale = redis.call('EXISTS', registry) == 0
      unlisted = not stale and redis.call('SISMEMBER', namespaces, namespace) == 0
    end
    if stale or unlisted then
      found[#found + 1] = member
    end
    if fix and stale then
      redis.call('SREM', namespaces, member)
    elseif fix and unlisted then
      redis.call('SADD', namespaces, namespace)
    end
  end
end
return found
