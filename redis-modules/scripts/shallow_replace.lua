-- Stores the one checkpoint that a namespace has in shallow mode, unless a newer one is there: what
-- of that only the document decides.
--
-- KEYS  1 document
-- ARGV  1 thread  2 namespace  3 id  4 document (JSON)  5 TTL in ms, 0 for none
--       6 expected newest: '' anything, '-' none, '=ID'
-- Returns 1 if it is stored now, 2 if there was none before, 3 if there was one without a TTL, which
--         this one has not got either yet: the thread may be pinned; 0 if a newer one is there.
-- Errors  LGWRONGTYPE key, LGFOREIGN key, LGCONFLICT newest id.
-- Twice: as shallow_put.
local document = KEYS[1]
local thread, namespace, id, json, ttl, expected = unpack(ARGV)
is_there(document, 'ReJSON-RL')
if wrong then
  return wrong
end
local found = names_of({ document })[1]
if found and (found[1] ~= thread or found[2] ~= namespace or type(found[3]) ~= 'string') then
  return redis.error_reply('LGFOREIGN ' .. document)
end
local newest = found and found[3] or nil
local conflict = newest ~= id and check_expected(expected, newest)
if conflict then
  return conflict
end
if newest and less(id, newest) then
  return 0
end
local is_kept = found and redis.call('PTTL', document) == -1
redis.call('JSON.SET', document, '$', json)
if is_kept then
  redis.call('PERSIST', document)
  return 3
end
expire(document, tonumber(ttl))
return found and 1 or 2
