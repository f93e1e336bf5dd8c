-- Takes ids out of a registry whose documents are gone; or writes, whose keys are the ids.
--
-- KEYS  1 registry of checkpoints, or of writes
-- ARGV  1 prefix of the namespace's documents, '' for writes  2… ids
-- Returns how many were taken out.
-- Idempotent: an id that is not registered is passed over.
local forgotten = 0
for i = 2, #ARGV do
  if redis.call('EXISTS', ARGV[1] .. ARGV[i]) == 0 then
    forgotten = forgotten + redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return forgotten
