-- Reads one checkpoint, or the newest of a namespace, with its writes.
--
-- KEYS  1 pointer to the newest  2 registry of checkpoints  3 set of namespaces
-- ARGV  1 id, '' for the newest  2 prefix of the namespace's documents
--       3 prefix of the registries of its writes  4 prefix of the keys of its writes
--       5 prefix of further registries of its writes, '' for none
--       6 TTL in ms to give to what was read, 0 to leave it
--       7 the id whose document the caller reads by itself; '' to get it from here
--       8 TTL that all of the thread must have (see expire_namespaces)
-- Returns { id, document or '', 1 if the thread is due for its TTL, else 0, writes… }, or { '', state } if there is none: state 'absent', or
-- 'unknown' if another saver may have written something that only the index knows.
-- Errors  none of its own.
-- Twice: reading changes nothing but TTLs and a pointer that named nothing.
local pointer, registry, namespaces = unpack(KEYS)
local id, prefix = ARGV[1], ARGV[2]
local ttl, own, whole = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])

local json = nil
if id == '' then
  local target = redis.call('GET', pointer)
  id = after(target, prefix)
  if id and id ~= own then
    json = redis.call('JSON.GET', target)
  end
  if not id or (id ~= own and not json) then
    -- The pointer names nothing: take the newest document that is there.
    id = newest_of(registry, prefix)
    if not id then
      local suspicious = target or redis.call('ZSCORE', registry, '')
      return { '', suspicious and 'unknown' or 'absent' }
    end
    redis.call('SET', pointer, prefix .. id)
    local left = redis.call('PTTL', prefix .. id)
    expire(pointer, math.max(left, 0))
  end
end

local document = prefix .. id
local result = { id, '', 0 }
if id ~= own then
  result[2] = json or redis.call('JSON.GET', document)
  if not result[2] then
    return { '', 'absent' }
  end
end
local writes = ARGV[3] .. id
local keys = append_writes(result, writes, ARGV[4] .. id .. ':')
if ARGV[5] ~= '' then
  local more = append_writes(result, ARGV[5] .. id, ARGV[4] .. id .. ':')
  for _, key in ipairs(more) do
    keys[#keys + 1] = key
  end
end

-- A document without a TTL is pinned, or kept for ever; reading it does not give it one.
if ttl > 0 and whole > 0 then
  result[3] = expire_namespaces(namespaces, ttl, whole, false)
elseif ttl > 0 and redis.call('PTTL', document) > 0 then
  redis.call('PEXPIRE', document, ttl)
  for _, key in ipairs(keys) do
    redis.call('PEXPIRE', key, ttl)
  end
  redis.call('PEXPIRE', writes, ttl)
  redis.call('PEXPIRE', registry, ttl, 'GT')
  redis.call('PEXPIRE', namespaces, ttl, 'GT')
  redis.call('PEXPIRE', pointer, ttl, 'GT')
end
return result
