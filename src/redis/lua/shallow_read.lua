-- Reads the checkpoint of a namespace in shallow mode with a page of its writes.
--
-- KEYS  1 document  2 registry of writes  3 set of namespaces  4… further registries of writes
-- ARGV  1 thread  2 namespace  3 namespace, as stored  4 prefix of the keys of its writes
--       5 id, '' for any  6 TTL in ms to give to what was read, 0 to leave it
--       7 'all' for the writes of all checkpoints, as a copy needs them, also without a document
--       8 how many members of the registries earlier pages were of
-- Returns { what to give as 8 for the next page, 0 if this was the last; how many members the
-- registries have; id or ''; document or '', which only the first page has; writes… }; an empty list
-- if there is none.
-- Errors  LGWRONGTYPE key, LGLOST key.
-- Idempotent: reading changes nothing but TTLs.
local document, registry, namespaces = unpack(KEYS)
local registries = { registry, unpack(KEYS, 4) }
local thread, namespace, prefix = ARGV[1], ARGV[2], ARGV[4]
local id, ttl, all, skip = ARGV[5], tonumber(ARGV[6]), ARGV[7] == 'all', tonumber(ARGV[8])

is_there(document, 'ReJSON-RL')
for _, writes in ipairs(registries) do
  is_there(writes, 'zset')
end
if wrong then
  return wrong
end
local found = names_of({ document })[1]
if not found or found[1] ~= thread or not is_namespace(found[2], namespace)
  or type(found[3]) ~= 'string' or (id ~= '' and found[3] ~= id) then
  found = nil
end
if not found and not all then
  return {}
end
local is_first = skip == 0
local result = { 0, 0, found and found[3] or '', is_first and found and redis.call('JSON.GET', document) or '' }
if not all then
  prefix = prefix .. found[3] .. ':'
end

local left, keys, gone, has_more = some_writes(), {}, nil, false
for _, writes in ipairs(registries) do
  local size = redis.call('ZCARD', writes)
  local position = math.max(skip - result[2], 0)
  while not has_more and position < size do
    has_more = left.writes <= 0 or left.bytes <= 0
    local page = has_more and {} or redis.call('ZRANGE', writes, position, position + 49)
    local own = {}
    for _, key in ipairs(page) do
      if after(key, prefix) then
        own[#own + 1] = key
      end
    end
    for i, write in ipairs(read_all(own, '.')) do
      if write then
        keys[#keys + 1], result[#result + 1] = own[i], write
        left.bytes = left.bytes - #write
      elseif not is_there(own[i], 'ReJSON-RL') then
        gone = gone or own[i]
      end
    end
    left.writes = left.writes - #page
    position = position + #page
    skip = result[2] + position
  end
  result[2] = result[2] + size
end
if wrong then
  return wrong
end
if has_more then
  result[1] = skip
end
if found and is_first and not has_more and not gone and not all and #keys == 0 then
  gone = registry
end
local damaged = found and gone and lost(document, gone)
if damaged then
  return damaged
end

-- A document without a TTL is pinned, or kept for ever; reading it does not give it one.
if ttl > 0 and redis.call('PTTL', document) ~= -1 then
  redis.call('PEXPIRE', document, ttl)
  for _, key in ipairs(keys) do
    redis.call('PEXPIRE', key, ttl, 'XX')
  end
  for _, writes in ipairs(registries) do
    redis.call('PEXPIRE', writes, ttl, 'GT')
  end
  redis.call('PEXPIRE', namespaces, ttl, 'GT')
end
return result
