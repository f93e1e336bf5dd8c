-- Reads a page of the writes of a checkpoint.
--
-- KEYS  1 heads  2 parts  3 writes
-- ARGV  1 place of the checkpoint  2 member that was read last, '' for none  3 most writes
-- Returns { 1 if the checkpoint is there, else 0; writes }.
-- Errors  LGWRONGTYPE key, LGLOST key.
-- Idempotent: it reads.
local place, last, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

local lower = last == '' and from(place) or '(' .. last
local found = ask('ZRANGEBYLEX', writes, lower, to(place), 'LIMIT', 0, most)
local there = at(heads, place, 1)[1]
local lost = last == '' and #found == 0 and lost_writes()
return wrong or lost or { there and 1 or 0, found }
