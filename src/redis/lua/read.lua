-- Reads one checkpoint, or the newest of a namespace, with its writes.
--
-- KEYS  1 pointer to the newest  2 registry of checkpoints  3 set of namespaces
-- ARGV  1 id, '' for the newest  2 prefix of the namespace's documents
--       3 prefix of the registries of its writes  4 prefix of the keys of its writes
--       5 prefix of further registries of its writes, '' for none
--       6 TTL in ms to give to what was read, 0 to leave it
--       7 the id whose document the caller reads by itself; '' to get it from here
--       8 TTL that all of the thread must have (see expire_namespaces)
-- Returns { id, document or '', 1 if the TTL of the thread must be refreshed, else 0, 1 if there are so many writes
-- that the caller must read them and refresh the TTL, else 0, writes… }, or { '', state } if there is
-- none: state 'absent', or 'unknown' if another saver may have written something that only the index
-- knows.
-- Errors  LGWRONGTYPE key, LGFURTHER, LGLOST key.
-- Idempotent: reading changes nothing but TTLs and a pointer that named nothing.
local pointer, registry, namespaces = unpack(KEYS)
local id, prefix = ARGV[1], ARGV[2]
local ttl, own, thread_ttl = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])

local json = nil
if id == '' then
  local target = ask('GET', pointer)
  id = after(target, prefix)
  if id and id ~= own then
    json = ask('JSON.GET', target)
  end
  if wrong then
    return wrong
  end
  if not id or (id ~= own and not json) or (id == own and redis.call('EXISTS', target) == 0) then
    -- The pointer names nothing: take the newest document that is there.
    local is_further
    id, is_further = newest_of(registry, prefix)
    local suspicious = target or ask('ZSCORE', registry, '')
    if wrong then
      return wrong
    end
    if not id then
      return is_further and FURTHER or { '', suspicious and 'unknown' or 'absent' }
    end
    redis.call('SET', pointer, prefix .. id)
    expire(pointer, as_long_as(redis.call('PTTL', prefix .. id)))
  end
end

local document = prefix .. id
local result = { id, '', 0, 0 }
if id == own then
  if redis.call('EXISTS', document) == 0 then
    return { '', 'absent' }
  end
else
  result[2] = json or ask('JSON.GET', document)
  if wrong then
    return wrong
  end
  if not result[2] then
    return { '', 'absent' }
  end
end
local writes, shared = ARGV[3] .. id, ARGV[5] ~= '' and ARGV[5] .. id
local left = some_writes()
local keys, gone = append_all_writes(result, writes, shared, ARGV[4] .. id .. ':', left)
if wrong then
  return wrong
end
-- What the caller reads by itself it looks at by itself.
if keys and #keys == 0 and id ~= own and string.find(result[2], '"registered":true', 1, true)
  and is_registered(document) then
  gone = writes
end
local damaged = gone and lost(document, gone)
if damaged then
  return damaged
end
if not keys then
  result = { id, result[2], 0, 1 }
end

-- A document without a TTL is pinned or never expires; reading it does not give it one, nor a write
-- that has none.
if ttl > 0 and thread_ttl > 0 then
  result[3] = expire_namespaces(namespaces, ttl, thread_ttl, false)
elseif ttl > 0 and keys and redis.call('PTTL', document) ~= -1 then
  redis.call('PEXPIRE', document, ttl)
  for _, key in ipairs(keys) do
    redis.call('PEXPIRE', key, ttl, 'XX')
  end
  redis.call('PEXPIRE', writes, ttl, 'XX')
  if shared then
    redis.call('PEXPIRE', shared, ttl, 'GT')
  end
  redis.call('PEXPIRE', registry, ttl, 'GT')
  redis.call('PEXPIRE', namespaces, ttl, 'GT')
  redis.call('PEXPIRE', pointer, ttl, 'GT')
end
return result
