-- Looks at a pointer to the newest checkpoint, and whether its namespace is listed.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest  3 set of namespaces
-- ARGV  1 'fix' or 'look'  2 prefix of the namespace's documents  3 namespace, as stored
--       4 what the namespace's documents say at $.thread_id
--       5 the newest id of the registry whose document is there, or ''
--       6 TTL in ms that keys should have, 0 for any or none
-- Returns what is wrong: 'nothing', 'old', 'foreign' of the pointer, 'unlisted', 'unsure'.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is right stays so.
local registry, pointer, namespaces = unpack(KEYS)
local fix, prefix, newest, ttl = ARGV[1] == 'fix', ARGV[2], ARGV[5], tonumber(ARGV[6])
is_there(registry, 'zset')
local has_pointer = is_there(pointer, 'string')
is_there(namespaces, 'set')
if wrong then
  return wrong
end
local found = {}

local function is_own(key)
  return redis.pcall('JSON.GET', key, '$.thread_id') == ARGV[4]
end

-- Whoever put or removed something since looks after the pointer himself.
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', registry, '+', '(' .. newest, 'LIMIT', 0, 200)) do
  if is_own(prefix .. id) then
    return found
  end
end
if newest ~= '' and not is_own(prefix .. newest) then
  return found
end

local target = has_pointer and redis.call('GET', pointer)
local id = target and after(target, prefix)
-- A name that is not of this namespace may be in another slot, where it cannot be looked at.
local is_gone = target and (not id or redis.call('EXISTS', target) == 0)
if newest == '' then
  if is_gone then
    found[1] = id and 'nothing' or 'foreign'
    if fix and id then
      redis.call('UNLINK', pointer)
    end
  end
  return found
end
if not target or is_gone then
  found[1] = 'nothing'
elseif not id or (less(id, newest) and is_own(target)) then
  found[1] = 'old'
end
if found[1] and fix then
  redis.call('SET', pointer, prefix .. newest)
  expire(pointer, as_long_as(redis.call('PTTL', prefix .. newest)))
end
if redis.call('SISMEMBER', namespaces, ARGV[3]) == 0 then
  if ttl > 0 and is_unsure(namespaces, registry)
    and redis.call('PTTL', prefix .. newest) == -1 then
    found[#found + 1] = 'unsure'
  else
    found[#found + 1] = 'unlisted'
    if fix then
      list_in(namespaces, redis.call('PTTL', registry), ARGV[3])
    end
  end
end
return found
