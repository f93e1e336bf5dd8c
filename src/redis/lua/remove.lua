-- Removes checkpoints of a namespace with their writes, a limited number of writes at a time.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest  3 set of namespaces
-- ARGV  1 prefix of the namespace's documents  2 prefix of the registries of its writes
--       3 prefix of the keys of its writes  4 prefix of further registries, '' for none
--       5 namespace, as stored  6 thread  7 how many writes are looked at
--       8, 9 how many members of the first id's registries of writes were looked at and stay
--       10 '1' if another step has begun to remove the first id, else '0'
--       11… ids
-- Returns { how many documents were removed, how many writes were removed, how many ids are done,
-- what to give as 8 and 9 with the next one }. An id that is not done has lost its document, and is
-- marked: nothing of it is stored before it is done, and a later call finds it.
-- Idempotent: what is gone stays gone.
local registry, pointer, namespaces = unpack(KEYS)
local prefix, namespace, thread = ARGV[1], ARGV[5], ARGV[6]
local budget = tonumber(ARGV[7])
local stays = { tonumber(ARGV[8]), tonumber(ARGV[9]) }
local documents, removed, done = 0, 0, 0

-- Whether a key says that it is of this checkpoint, or says nothing, as what the Python saver
-- leaves when writes come first. Nil if it is gone.
local function is_own(key, id)
  local names = names_of({ key })[1]
  if not names then
    return nil
  end
  local theirs = names[2] == '' and '__empty__' or names[2]
  return #names == 0 or (names[1] == thread and theirs == namespace and names[3] == id)
end

-- Removes writes that a registry names. Returns whether all were looked at.
local function remove_own(writes, position, id, is_shared)
  local start = ARGV[3] .. id .. ':'
  local found = redis.call('TYPE', writes).ok
  if found ~= 'none' and found ~= 'zset' then
    -- It names nothing: no saver makes it so.
    if position == 1 then
      redis.call('UNLINK', writes)
    end
    return true
  end
  while true do
    if budget <= 0 then
      return redis.call('ZCARD', writes) <= stays[position]
    end
    local page = redis.call('ZRANGE', writes, stays[position], stays[position] + math.min(budget, 500) - 1)
    budget = budget - #page
    local out = {}
    for _, key in ipairs(page) do
      local goes = after(key, start) ~= nil
      local is_there = goes
      if goes and is_shared then
        goes = is_own(key, id)
        is_there, goes = goes, goes ~= false
      end
      if is_there and goes then
        removed = removed + redis.call('UNLINK', key)
      end
      -- What has another name is nothing in our own registry, and another saver's in the further.
      if goes or (position == 1 and not after(key, start)) then
        out[#out + 1] = key
      else
        stays[position] = stays[position] + 1
      end
    end
    if #out > 0 then
      redis.call('ZREM', writes, unpack(out))
    end
    if #page == 0 then
      return true
    end
  end
end

for i = 11, #ARGV do
  local id = ARGV[i]
  local marked = '\0removed\0' .. namespace .. '\0' .. id
  -- If another call has come to the end of it, what is there was put since.
  if i > 11 or ARGV[10] == '0' or redis.call('SISMEMBER', namespaces, marked) == 1 then
    -- Only names with colons may be those of others.
    local is_shared = string.find(thread .. namespace .. id, ':', 1, true) ~= nil
    if not is_shared or is_own(prefix .. id, id) then
      documents = documents + redis.call('UNLINK', prefix .. id)
    end
    redis.call('ZREM', registry, id)
    local is_done = remove_own(ARGV[2] .. id, 1, id, is_shared)
    if is_done and ARGV[4] ~= '' then
      is_done = remove_own(ARGV[4] .. id, 2, id, is_shared)
    end
    if not is_done then
      local had_namespaces = redis.call('EXISTS', namespaces) == 1
      redis.call('SADD', namespaces, marked)
      if not had_namespaces then
        expire(namespaces, as_long_as(redis.call('PTTL', ARGV[2] .. id)))
      end
      break
    end
    redis.call('SREM', namespaces, marked, '\0writes\0' .. namespace .. '\0' .. id)
  end
  done, stays = done + 1, { 0, 0 }
end

local target = redis.call('GET', pointer)
if target and (not after(target, prefix) or redis.call('EXISTS', target) == 0) then
  local newest = newest_of(registry, prefix)
  if newest then
    redis.call('SET', pointer, prefix .. newest)
    expire(pointer, as_long_as(redis.call('PTTL', prefix .. newest)))
  else
    redis.call('UNLINK', pointer)
  end
end

-- The longest of some keys' TTLs; nil if one has none, or none is there.
local longest = 0
local function add_ttl(key)
  local left = longest and redis.call('PTTL', key)
  if left == -1 then
    longest = nil
  elseif left and left >= 0 then
    longest = math.max(longest, left, 1)
  end
end

local is_pinned = redis.call('SISMEMBER', namespaces, PINNED) == 1
local newest = redis.call('ZREVRANGEBYLEX', registry, '+', '(', 'LIMIT', 0, 1)[1]
local members = redis.call('SCARD', namespaces)
if newest == nil then
  redis.call('UNLINK', registry)
  -- Of very many members not each is looked at; then the namespace stays listed for now.
  local awaited = members > 1000
  if not awaited then
    for _, member in ipairs(redis.call('SMEMBERS', namespaces)) do
      awaited = awaited or marked_by(member) == namespace
    end
  end
  if not awaited then
    redis.call('SREM', namespaces, namespace)
  end
  if is_pinned and redis.call('SCARD', namespaces) == 1 then
    -- A pin ends with its thread.
    redis.call('UNLINK', namespaces)
  end
elseif not is_pinned and redis.call('PTTL', registry) == -1 and redis.call('ZCARD', registry) <= 1000 then
  -- What was kept without a TTL may be gone, and what is left expires.
  for _, id in ipairs(redis.call('ZREVRANGEBYLEX', registry, '+', '(')) do
    add_ttl(prefix .. id)
    if not longest then
      break
    end
  end
  if longest and longest > 0 then
    redis.call('PEXPIRE', registry, longest)
  end
end

-- The same for the set of namespaces, which lives as long as all that it names.
if not is_pinned and members <= 200 and redis.call('PTTL', namespaces) == -1 then
  longest = 0
  local registries = string.sub(registry, 1, #registry - #namespace)
  local write_registries = string.sub(ARGV[2], 1, #ARGV[2] - #namespace - 1)
  for _, member in ipairs(redis.call('SMEMBERS', namespaces)) do
    local space, id = marked_by(member)
    if space then
      add_ttl(write_registries .. space .. ':' .. id)
    elseif string.sub(member, 1, 1) ~= '\0' then
      add_ttl(registries .. member)
    else
      longest = nil
    end
    if not longest then
      break
    end
  end
  if longest and longest > 0 then
    redis.call('PEXPIRE', namespaces, longest)
  end
end
return { documents, removed, done, stays[1], stays[2] }
