-- Reads the writes of several checkpoints.
--
-- KEYS  of each checkpoint the registry of its writes and its document
-- ARGV  prefixes of the keys of the writes of each checkpoint
-- Returns for each registry { state, document… }: state 0 if these are all; 1 if it was not its turn yet;
-- 2 if the checkpoint must be read by itself: its writes are many, or one of them is gone or of another
-- type, or it is gone itself by now, and perhaps some of them.
-- Idempotent: it changes nothing.
local result, left, is_first = {}, some_writes(), true
for i = 1, #KEYS, 2 do
  local registry = KEYS[i]
  local documents = { 0 }
  local keys, gone = nil, nil
  if left.writes > 0 then
    keys, gone = append_writes(documents, registry, ARGV[(i + 1) / 2], left)
  end
  local is_gone = #documents > 1 and redis.call('EXISTS', KEYS[i + 1]) == 0
  if wrong or gone or is_gone or (not keys and is_first) then
    documents, wrong = { 2 }, nil
  elseif not keys then
    documents = { 1 }
    left.writes = 0
  end
  is_first = is_first and #documents == 1 and documents[1] ~= 1
  result[#result + 1] = documents
end
return result
