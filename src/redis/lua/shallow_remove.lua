-- Removes the checkpoint of a namespace in shallow mode with its writes, a limited number at a time.
--
-- KEYS  1 document  2 registry of writes  3 set of namespaces  4… further registries of writes
-- ARGV  1 thread  2 namespace  3 namespace, as stored  4 prefix of the keys of its writes
--       5 id, '' for whatever is there and the writes of all checkpoints
--       6 run that must have made it, '' for any  7 about how many writes at most
--       8 '1' if another step has begun to remove it, else '0'
-- Returns { how many documents were removed, how many writes were removed, 1 if writes are left }.
-- The document goes with the first of them. What is left is marked: nothing is stored beside it before
-- the last is gone, and a later call finds it.
-- Errors  LGWRONGTYPE key.
-- Idempotent: what is gone stays gone.
local document, registry, namespaces = unpack(KEYS)
local registries = { registry, unpack(KEYS, 4) }
local thread, namespace, stored, prefix, id, run = unpack(ARGV)
local most, goes_on = tonumber(ARGV[7]), ARGV[8] == '1'

is_there(document, 'ReJSON-RL')
local had_namespaces = is_there(namespaces, 'set')
for _, writes in ipairs(registries) do
  is_there(writes, 'zset')
end
if wrong then
  return wrong
end
local mark = shallow_mark(stored, id)
local is_marked = redis.call('SISMEMBER', namespaces, mark) == 1
if goes_on and not is_marked then
  -- Another call has come to the end of it: what is there was put since.
  return { 0, 0, 0 }
end
local found = names_of({ document })[1]
local is_own = found and found[1] == thread and is_namespace(found[2], namespace)
if id ~= '' then
  is_own = is_own and found[3] == id
  if is_own and run ~= '' then
    is_own = cjson.decode(redis.call('JSON.GET', document, '$.run_id'))[1] == run
  end
  if not is_own and not is_marked then
    return { 0, 0, 0 }
  end
end

local documents = is_own and redis.call('UNLINK', document) or 0
local removed, left = 0, 0
for _, writes in ipairs(registries) do
  local ttl = redis.call('PTTL', writes)
  local own, gone = own_writes(writes, prefix, thread, namespace, most, function(of)
    return id == '' or of == id
  end)
  remove_writes(writes, own, gone)
  removed = removed + #own
  if #own + #gone >= most then
    left = 1
    redis.call('SADD', namespaces, mark)
    if not had_namespaces then
      expire(namespaces, as_long_as(ttl))
    end
    break
  end
end
if left == 0 then
  redis.call('SREM', namespaces, mark)
  if id == '' or redis.call('EXISTS', registry) == 0 then
    redis.call('SREM', namespaces, stored)
  end
end
return { documents, removed, left }
