-- Reads the writes of several checkpoints.
--
-- KEYS  registries of the writes of each checkpoint
-- ARGV  prefixes of the keys of the writes of each checkpoint
-- Returns for each registry { state, document… }: state 0 if these are all; 1 if it was not its turn yet;
-- 2 if the checkpoint must be read by itself: its writes are many, or one of them is gone or of another
-- type.
-- Idempotent: it changes nothing.
local result, left, is_first = {}, some_writes(), true
for i, registry in ipairs(KEYS) do
  local documents = { 0 }
  local keys, gone = nil, nil
  if left.writes > 0 then
    keys, gone = append_writes(documents, registry, ARGV[i], left)
  end
  if wrong or gone or (not keys and is_first) then
    documents, wrong = { 2 }, nil
  elseif not keys then
    documents = { 1 }
    left.writes = 0
  end
  is_first = is_first and #documents == 1 and documents[1] ~= 1
  result[i] = documents
end
return result
