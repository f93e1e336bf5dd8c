-- Shared by all scripts: it stands in front of each when it is sent.
--
-- Rules that every script keeps:
-- * All keys are in one slot. Keys that depend on data (the document that a pointer names, the
--   writes that a registry names) cannot be in KEYS; each is built from, or checked against, a
--   prefix that holds the thread, so it is in the slot of KEYS.
-- * Everything is checked before the first write, because Redis does not roll back.
-- * Running twice is the same as running once.

-- Refuses keys of another type. `wanted` is what TYPE says, `none` is always right.
local function check_type(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('LGWRONGTYPE ' .. key)
  end
end

-- Whether one id is less than another, byte for byte; `<` would follow the server's locale.
local function less(one, other)
  local length = math.min(#one, #other)
  for i = 1, length do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then
      return a < b
    end
  end
  return #one < #other
end

-- What follows a prefix, or nil if the text does not start with it.
local function after(text, prefix)
  if text and #text > #prefix and string.sub(text, 1, #prefix) == prefix then
    return string.sub(text, #prefix + 1)
  end
end

-- The newest id of a registry whose document is there; of many that are gone not all are tried.
local function newest_of(registry, prefix)
  for offset = 0, 9900, 100 do
    local page = redis.call('ZREVRANGEBYLEX', registry, '+', '(', 'LIMIT', offset, 100)
    for _, id in ipairs(page) do
      if redis.call('EXISTS', prefix .. id) == 1 then
        return id
      end
    end
    if #page < 100 then
      return nil
    end
  end
end

-- The member of a thread's set of namespaces that says that the thread is pinned.
local PINNED = '\0pinned'

-- Gives a key that holds one thing its TTL in milliseconds; 0 is none.
local function expire(key, ttl)
  if ttl > 0 then
    redis.call('PEXPIRE', key, ttl)
  else
    redis.call('PERSIST', key)
  end
end

-- Gives a key that is shared by things of different TTLs the longest of them.
local function expire_shared(key, ttl, is_new)
  if ttl == 0 then
    redis.call('PERSIST', key)
  elseif is_new then
    redis.call('PEXPIRE', key, ttl)
  else
    redis.call('PEXPIRE', key, ttl, 'GT')
  end
end

-- Gives a thread's set of namespaces its TTL, and says whether all of the thread is due for
-- another. `whole` is 0 where each checkpoint is kept by itself. Where a thread is kept whole it
-- is the TTL that all of it must still have, -1 for none; keys get more than that, and nothing of
-- the thread expires before the set does, which only gets a TTL anew when all else has.
local function expire_namespaces(namespaces, ttl, whole, is_new)
  if whole == 0 or is_new then
    expire_shared(namespaces, ttl, is_new)
    return 0
  end
  local left = redis.call('PTTL', namespaces)
  return left >= 0 and (whole == -1 or left < whole) and 1 or 0
end

-- Appends the documents of a checkpoint's writes to `documents`.
local function append_writes(documents, registry, prefix)
  local keys = {}
  for _, key in ipairs(redis.call('ZRANGE', registry, 0, -1)) do
    if after(key, prefix) then
      keys[#keys + 1] = key
    end
  end
  for first = 1, #keys, 1000 do
    local slice = { unpack(keys, first, math.min(first + 999, #keys)) }
    slice[#slice + 1] = '.'
    for _, document in ipairs(redis.call('JSON.MGET', unpack(slice))) do
      if document then
        documents[#documents + 1] = document
      end
    end
  end
  return keys
end
