-- Takes members out of a thread's set of namespaces that stand for nothing any more.
--
-- KEYS  1 set of namespaces  2… what each member stands for
-- ARGV  members
-- Returns how many were taken out.
-- Idempotent: what is out stays out.
local namespaces = KEYS[1]
local removed, spaces = 0, {}
for i, member in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    if string.sub(member, 1, 1) == '\0' then
      removed = removed + redis.call('SREM', namespaces, member)
    else
      spaces[#spaces + 1] = member
    end
  end
end
-- A namespace may be there for writes alone. Of very many members not each is looked at here: the
-- caller has.
local waits = {}
if #spaces > 0 and redis.call('SCARD', namespaces) <= 1000 then
  for _, member in ipairs(redis.call('SMEMBERS', namespaces)) do
    local namespace = marked_by(member)
    if namespace then
      waits[namespace] = true
    end
  end
end
for _, namespace in ipairs(spaces) do
  if not waits[namespace] then
    removed = removed + redis.call('SREM', namespaces, namespace)
  end
end
return removed
