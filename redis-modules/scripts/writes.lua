-- Reads the writes of several checkpoints.
--
-- KEYS  registries of the writes of each checkpoint
-- ARGV  prefixes of the keys of the writes of each checkpoint
-- Returns a list of documents for each checkpoint.
local result = {}
for i, registry in ipairs(KEYS) do
  local documents = {}
  append_writes(documents, registry, ARGV[i])
  result[i] = documents
end
return result
