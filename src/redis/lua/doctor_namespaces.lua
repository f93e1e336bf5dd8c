-- Looks at members of a thread's set of namespaces.
--
-- KEYS  1 set of namespaces
-- ARGV  1 'fix' or 'look'  2 how many members the set has
--       3… fives: a member, its namespace as stored, and the keys any of which it may stand for, ''
--       for none
-- Returns { how many members the set has now, the members that stand for nothing and those whose
-- namespace is not listed… }; { -1 } for a large set that others have changed since.
-- Idempotent: what is right stays so.
local namespaces, fix = KEYS[1], ARGV[1] == 'fix'
local found, awaited = { 0 }, nil
local size = redis.call('SCARD', namespaces)
local is_large = size > 500
if is_large and size ~= tonumber(ARGV[2]) then
  return { -1 }
end

-- A namespace may be listed for writes alone. Of a large set the caller has looked for them.
local function has_writes(namespace)
  if is_large then
    return false
  end
  if not awaited then
    awaited = {}
    for _, member in ipairs(redis.call('SMEMBERS', namespaces)) do
      local awaiting = marked_by(member)
      if awaiting then
        awaited[awaiting] = true
      end
    end
  end
  return awaited[namespace]
end

for i = 3, #ARGV, 5 do
  local member, namespace = ARGV[i], ARGV[i + 1]
  if redis.call('SISMEMBER', namespaces, member) == 1 then
    local stale, unlisted = true, false
    for key = i + 2, i + 4 do
      stale = stale and (ARGV[key] == '' or redis.call('EXISTS', ARGV[key]) == 0)
    end
    if member == PINNED then
      stale = redis.call('SCARD', namespaces) == 1
    elseif member == namespace then
      stale = stale and not has_writes(namespace)
    else
      unlisted = not stale and namespace ~= '' and redis.call('SISMEMBER', namespaces, namespace) == 0
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
found[1] = redis.call('SCARD', namespaces)
return found
