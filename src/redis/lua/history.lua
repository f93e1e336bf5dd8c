-- Walks from a checkpoint towards the root and collects what channels were given on the way.
--
-- KEYS  1 pointer to the newest  2 registry of checkpoints
-- ARGV  1 id to start from, '' for the newest  2 prefix of the namespace's documents
--       3 prefix of the registries of its writes  4 prefix of the keys of its writes
--       5 how many checkpoints at most  6 '1' to start with the parent of the id
--       7 names of the channels (JSON array)  8 prefix of further registries of its writes, '' for none
-- Returns { next id or '', { id, document or '', 1 if there are too many writes that the caller must read
-- them, else 0, write documents… }… }: documents are given only where a channel has a value.
-- Errors  LGWRONGTYPE key, LGFURTHER, LGLOST key.
-- Idempotent: it changes nothing.
local pointer, registry = unpack(KEYS)
local id, prefix = ARGV[1], ARGV[2]
local channels = cjson.decode(ARGV[7])

if id == '' then
  id = after(ask('GET', pointer), prefix)
  if not id or redis.call('EXISTS', prefix .. id) == 0 then
    local is_further
    id, is_further = newest_of(registry, prefix)
    if is_further then
      return FURTHER
    end
  end
  if wrong then
    return wrong
  end
end

local function parent_of(one)
  local found = redis.call('JSON.GET', prefix .. one, '$.parent_checkpoint_id')
  local parent = found and string.sub(found, 2, -2)
  if parent and parent ~= '' then
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
local left = some_writes()
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
  local entry = { id, '', 0 }
  local writes = ARGV[3] .. id
  local shared = ARGV[8] ~= '' and ARGV[8] .. id
  local keys, gone = append_all_writes(entry, writes, shared, ARGV[4] .. id .. ':', left)
  if not keys and #result > 1 then
    -- Its writes are more than is left of this step.
    break
  end
  if keys and #keys == 0 and is_registered(document) then
    gone = writes
  end
  local damaged = gone and lost(document, gone)
  if wrong or damaged then
    return wrong or damaged
  end
  if not keys then
    entry = { id, '', 1 }
    left.writes = 0
  end
  local names = ask('JSON.OBJKEYS', document, '.checkpoint.channel_values')
  if wrong then
    return wrong
  end
  for _, name in ipairs(names or {}) do
    if remaining[name] then
      remaining[name] = nil
      if entry[2] == '' then
        entry[2] = redis.call('JSON.GET', document)
        left.bytes = left.bytes - #entry[2]
      end
    end
  end
  result[#result + 1] = entry
  id = parent_of(id)
  if left.writes <= 0 or left.bytes <= 0 then
    break
  end
end
if id and next(remaining) then
  result[1] = id
end
return result
