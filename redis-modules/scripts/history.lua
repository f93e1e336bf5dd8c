-- Walks from a checkpoint towards the root and collects what channels were given on the way.
--
-- KEYS  1 pointer to the newest  2 registry of checkpoints
-- ARGV  1 id to start from, '' for the newest  2 prefix of the namespace's documents
--       3 prefix of the registries of its writes  4 prefix of the keys of its writes
--       5 how many checkpoints at most  6 '1' to start with the parent of the id
--       7 names of the channels (JSON array)
-- Returns { next id or '', { id, document or '', write documents… }… }: documents are given only
-- where a channel has a value.
local pointer, registry = unpack(KEYS)
local id, prefix = ARGV[1], ARGV[2]
local channels = cjson.decode(ARGV[7])

if id == '' then
  id = after(redis.call('GET', pointer), prefix)
  if not id or redis.call('EXISTS', prefix .. id) == 0 then
    id = newest_of(registry, prefix)
  end
end

local function parent_of(one)
  local parent = redis.call('JSON.GET', prefix .. one, '.parent_checkpoint_id')
  if parent then
    parent = cjson.decode(parent)
    if type(parent) == 'string' and parent ~= '' then
      return parent
    end
  end
end

if id and ARGV[6] == '1' then
  if redis.call('EXISTS', prefix .. id) == 0 then
    id = nil
  else
    id = parent_of(id)
  end
end

local remaining = {}
for _, channel in ipairs(channels) do
  remaining[channel] = true
end

local result = { '' }
local steps, seen = 0, {}
while id and next(remaining) and steps < tonumber(ARGV[5]) do
  if seen[id] then
    -- The parents form a circle.
    id = nil
    break
  end
  seen[id] = true
  steps = steps + 1
  local document = prefix .. id
  if redis.call('EXISTS', document) == 0 then
    id = nil
    break
  end
  local entry = { id, '' }
  local names = redis.call('JSON.OBJKEYS', document, '.checkpoint.channel_values') or {}
  for _, name in ipairs(names) do
    if remaining[name] then
      remaining[name] = nil
      entry[2] = entry[2] ~= '' and entry[2] or redis.call('JSON.GET', document)
    end
  end
  append_writes(entry, ARGV[3] .. id, ARGV[4] .. id .. ':')
  result[#result + 1] = entry
  id = parent_of(id)
end
if id and next(remaining) then
  result[1] = id
end
return result
