-- Stores writes of a checkpoint, or blobs of a namespace, all together, with the parts that the thread lacks.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the checkpoint, without an id for blobs
--       2 'replace', or 'keep' to keep what is there  3 TTL in ms, 0 for none
--       4 how many writes follow  5 how many digests follow them that the thread must have
--       the writes, each as what follows the place of the checkpoint (task id 00 index, or of a blob
--       channel 00 version 00) and its record; the digests; then parts, each behind its digest
-- Returns the digests that the thread lacks; nothing was stored then.
-- Errors  LGWRONGTYPE key, LGLOST key.
-- Idempotent: what the first run stored is kept, or replaced by itself.
local checkpoint, replace, ttl = ARGV[1], ARGV[2] == 'replace', tonumber(ARGV[3])
local first = 6 + 2 * tonumber(ARGV[4])
local last = first - 1 + tonumber(ARGV[5])

ask('HLEN', parts)
local missing = missing_of(first, last)
local new, old = {}, {}
for i = 6, first - 1, 2 do
  local place = checkpoint .. ARGV[i]
  local there = at(writes, place, 1)[1]
  if not there or (replace and there ~= place .. ARGV[i + 1]) then
    new[#new + 1] = place .. ARGV[i + 1]
    old[#old + 1] = there
  end
end
local lost = #old == 0 and lost_writes()
if wrong or lost then
  return wrong or lost
end
if #missing > 0 then
  return missing
end

local left = time_left()
if #new > 0 then
  store_parts(last + 1)
  redis.call('HSET', parts, 'writes', 1)
  if id_in(checkpoint) == '' then
    redis.call('HINCRBY', parts, 'blobs', #new - #old)
  end
  for _, member in ipairs(old) do
    redis.call('ZREM', writes, member)
  end
  for _, member in ipairs(new) do
    redis.call('ZADD', writes, 0, member)
  end
end
keep(left, ttl)
return {}
