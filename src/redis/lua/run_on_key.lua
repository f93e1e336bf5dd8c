-- Runs commands on one key and sets its TTL, as one step: so that it is never there without its TTL.
--
-- KEYS  1 the key
-- ARGV  of each command: how many arguments it has besides the key, its name, and those. Names in
--       lower case are ours: 'done' goes on only if the last command has done something, 'own' and
--       'shared' give the key a TTL in ms, which is its own or the longest of several.
-- Returns what each command returned, up to the one that did nothing.
-- Idempotent: if the commands are. The TTL is counted from the last run.
local key = KEYS[1]
local was_there = redis.call('EXISTS', key) == 1
local replies, last, i = {}, nil, 1
while i <= #ARGV do
  local count, name = tonumber(ARGV[i]), ARGV[i + 1]
  local first = i + 2
  i = first + count
  if name == 'done' then
    if not last or last == 0 then
      break
    end
  elseif name == 'own' then
    expire(key, tonumber(ARGV[first]), not was_there)
  elseif name == 'shared' then
    expire_shared(key, tonumber(ARGV[first]), not was_there)
  else
    last = redis.call(name, key, unpack(ARGV, first, i - 1))
    replies[#replies + 1] = last
  end
end
return replies
