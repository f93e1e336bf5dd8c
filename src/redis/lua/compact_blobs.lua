-- Reads blobs of a checkpoint.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the namespace  2 place of the checkpoint  3... blobs as channel 00 version 00
-- Returns { 1 if the checkpoint is there, else 0; PTTL of the thread; members }; blobs that are not there
-- are left out.
-- Errors  LGWRONGTYPE key, LGLOST key.
-- Idempotent: it reads.
local found = {}
for i = 3, #ARGV do
  found[#found + 1] = at(writes, ARGV[1] .. '\0' .. ARGV[i], 1)[1]
end
local lost = #found == 0 and lost_writes()
local there = at(heads, ARGV[2], 1)[1] and 1 or 0
return wrong or lost or { there, time_left(), found }
