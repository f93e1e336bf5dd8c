-- Lets a pointer name a newer checkpoint; never an older one than it names.
--
-- KEYS  1 pointer to the newest
-- ARGV  1 the document  2 prefix of the namespace's documents  3 id  4 TTL in ms, 0 for none
--       5 an id whose document is gone, so that the pointer may leave it; '' for none
-- Returns 1 if the pointer names the document, else 0.
-- Idempotent: a second run finds that the pointer names the document, and sets it again.
local pointer = KEYS[1]
local document, prefix, id, ttl, gone = unpack(ARGV)
local current = after(redis.call('GET', pointer), prefix)
if current and current ~= gone and less(id, current) then
  return 0
end
redis.call('SET', pointer, document)
if tonumber(ttl) > 0 then
  redis.call('PEXPIRE', pointer, ttl)
end
return 1
