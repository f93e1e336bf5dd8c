-- Changes the TTL of a namespace in shallow mode: of its checkpoint, its writes, and of what the
-- thread shares. In steps of a thousand writes at most.
--
-- KEYS  1 document  2 registry of writes  3 set of namespaces  4… further registries of writes
-- ARGV  1 thread  2 namespace  3 namespace, as stored  4 prefix of the keys of its writes
--       5 TTL in ms, 0 for none  6 'pin', 'unpin' or 'touch'
--       7 which registry to go on with, from 1  8 from which rank, from 0
--       9 how many members it had, 0 at its start
--       10 how many documents and writes the steps before found
-- Returns { how many documents and writes were found so far; which registry to go on with, 0 after the
-- last; from which rank; how many members it has }.
-- Idempotent: the TTL is the same, counted from the second run.
local document, registry, namespaces = unpack(KEYS)
local all_registries = { registry, unpack(KEYS, 4) }
local thread, namespace, stored, prefix = unpack(ARGV)
local ttl, verb = tonumber(ARGV[5]), ARGV[6]
local at, first, had, count =
  tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local writes = all_registries[at]
local has = redis.call('ZCARD', writes)
local is_first = at == 1 and first == 0 and had == 0
if has < had then
  -- Members have gone since, and others have their ranks.
  first = 0
end
local own, _, rest = own_writes(writes, prefix, thread, namespace, 0, function()
  return true
end, first)
if rest then
  first = rest
else
  at, first, has = at < #all_registries and at + 1 or 0, 0, 0
end

local keys = {}
local names = (is_first or at == 0) and names_of({ document })[1]
local is_there = names and names[1] == thread and is_namespace(names[2], namespace)
local goes_on = count > 0
count = count + #own + (is_first and is_there and 1 or 0)
if count == 0 then
  return { 0, at, first, has }
end
-- First when it is unpinned: a write that comes from now on lives as long as it says now. Else last: its
-- writes live as long as it.
if is_there and (verb == 'unpin' and is_first or verb ~= 'unpin' and at == 0) then
  keys[1] = document
end

local is_pinned = redis.call('SISMEMBER', namespaces, PINNED) == 1
if (verb == 'touch' and is_pinned) or (goes_on and verb ~= 'touch' and is_pinned ~= (verb == 'pin')) then
  -- What is pinned has no TTL; or another call has pinned or unpinned it since, and visits all of it.
  return { count, 0, 0, 0 }
elseif verb == 'pin' then
  -- The Python saver has no such set, and the mark needs one.
  redis.call('SADD', namespaces, PINNED, stored)
  redis.call('PERSIST', namespaces)
elseif verb == 'unpin' then
  redis.call('SREM', namespaces, PINNED)
end
for _, key in ipairs(own) do
  keys[#keys + 1] = key
end
if #own > 0 then
  keys[#keys + 1] = writes
end
if at == 0 then
  -- Last, because it leads to all else.
  keys[#keys + 1] = namespaces
end
for _, key in ipairs(keys) do
  if verb == 'pin' then
    redis.call('PERSIST', key)
  elseif ttl > 0 and (verb == 'unpin' or redis.call('PTTL', key) ~= -1) then
    -- What is kept for ever stays so when it is touched.
    redis.call('PEXPIRE', key, ttl)
  end
end
return { count, at, first, has }
