-- Reads a page of a namespace's checkpoint ids, newest first.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest
-- ARGV  1 upper end of the range: '+', or '(' and an id  2 how many
--       3 prefix of the namespace's documents
-- Returns { state, id… }: state 'complete', or 'incomplete' if another saver wrote checkpoints
-- that the registry does not name.
local registry, pointer = unpack(KEYS)
local target = redis.call('GET', pointer)
local newest = after(target, ARGV[3])
local state = 'complete'
if redis.call('ZSCORE', registry, '') or (newest and not redis.call('ZSCORE', registry, newest)) then
  state = 'incomplete'
end
local page = redis.call('ZREVRANGEBYLEX', registry, ARGV[1], '(', 'LIMIT', 0, ARGV[2])
table.insert(page, 1, state)
return page
