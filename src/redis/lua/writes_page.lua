-- Reads a page of the writes of one checkpoint, which may have no document.
--
-- KEYS  1 registry of its writes  2 document
-- ARGV  1 prefix of the keys of its writes  2 how many members of the registry to leave out
-- Returns { 1 if the document is there, else 0; how many members the registry has; how many to leave out
-- of the next page, 0 if this was the last; document… }.
-- Errors  LGWRONGTYPE key, LGLOST key.
-- Idempotent: it changes nothing.
local registry, document = unpack(KEYS)
local prefix, first = ARGV[1], tonumber(ARGV[2])
local is_there = redis.call('EXISTS', document)
local result = { is_there, ask('ZCARD', registry), 0 }
if wrong then
  return wrong
end
local left = some_writes()
local position, gone = first, nil
for _, key in ipairs(redis.call('ZRANGE', registry, first, first + left.writes - 1)) do
  if left.bytes <= 0 then
    break
  end
  position = position + 1
  if after(key, prefix) then
    local json = ask('JSON.GET', key)
    if wrong then
      return wrong
    end
    if json then
      result[#result + 1] = json
      left.bytes = left.bytes - #json
    else
      gone = gone or key
    end
  end
end
if position < result[2] then
  result[3] = position
end
return is_there == 1 and gone and lost(document, gone) or result
