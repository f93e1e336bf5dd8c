-- Looks at a page of a registry of checkpoints, and with the first page at the pointer.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest  3 set of namespaces
-- ARGV  1 'fix' or 'look'  2 prefix of the namespace's documents  3 namespace, as stored
--       4 what the namespace's documents say at $.thread_id  5 lower end of the range: '(' and an
--       id  6 how many
-- Returns { how many ids there were, last id, what is wrong… }: 'pointer_nothing', 'pointer_old',
-- 'unlisted', and 'gone' followed by an id.
-- Twice: what is right stays so.
local registry, pointer, namespaces = unpack(KEYS)
local fix, prefix = ARGV[1] == 'fix', ARGV[2]
local page = redis.call('ZRANGEBYLEX', registry, ARGV[5], '+', 'LIMIT', 0, ARGV[6])
local found = { #page, page[#page] or '' }

local function point(to)
  if not fix then
    return
  end
  if to then
    redis.call('SET', pointer, prefix .. to)
    expire(pointer, math.max(redis.call('PTTL', prefix .. to), 0))
  else
    redis.call('UNLINK', pointer)
  end
end

if ARGV[5] == '(' then
  local newest = newest_of(registry, prefix)
  local target = redis.call('GET', pointer)
  if target and redis.call('EXISTS', target) == 0 or not target and newest then
    found[#found + 1] = 'pointer_nothing'
    point(newest)
  elseif target and newest then
    local id = after(target, prefix)
    -- Another thread's documents may be named alike; then the pointer may be the other's.
    local foreign = id and redis.call('JSON.GET', target, '$.thread_id') ~= ARGV[4]
    if not foreign and (not id or less(id, newest)) then
      found[#found + 1] = 'pointer_old'
      point(newest)
    end
  end
  if newest and redis.call('SISMEMBER', namespaces, ARGV[3]) == 0 then
    found[#found + 1] = 'unlisted'
    if fix then
      local had_namespaces = redis.call('EXISTS', namespaces) == 1
      redis.call('SADD', namespaces, ARGV[3])
      expire_shared(namespaces, math.max(redis.call('PTTL', registry), 0), not had_namespaces)
    end
  end
end

for _, id in ipairs(page) do
  if redis.call('EXISTS', prefix .. id) == 0 then
    found[#found + 1] = 'gone'
    found[#found + 1] = id
    if fix then
      redis.call('ZREM', registry, id)
    end
  end
end
return found
