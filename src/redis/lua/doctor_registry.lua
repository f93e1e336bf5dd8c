-- Looks at a page of a registry of checkpoints.
--
-- KEYS  1 registry of checkpoints
-- ARGV  1 prefix of the namespace's documents  2 what the namespace's documents say at $.thread_id
--       3 lower end of the range: '(' and an id  4 how many
-- Returns { how many ids there were, last id, last id whose document is there or '', ids whose
-- documents are gone… }; -1 for how many if it is no registry of checkpoints, whose scores are 0.
-- Idempotent: nothing is changed.
local registry, prefix = KEYS[1], ARGV[1]
local size = redis.call('ZCARD', registry)
if redis.call('ZCOUNT', registry, 0, 0) ~= size then
  return { -1, '', '' }
end
local page = redis.call('ZRANGEBYLEX', registry, ARGV[3], '+', 'LIMIT', 0, ARGV[4])
local found = { #page, page[#page] or '', '' }
for _, id in ipairs(page) do
  if redis.call('EXISTS', prefix .. id) == 1 then
    -- Another thread's documents may be named alike.
    if redis.pcall('JSON.GET', prefix .. id, '$.thread_id') == ARGV[2] then
      found[3] = id
    end
  else
    found[#found + 1] = id
  end
end
return found
