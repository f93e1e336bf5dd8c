-- Gives a key that is shared its TTL, if all that it stands for has one.
--
-- KEYS  1 the shared key  2 set of namespaces
-- ARGV  1 'fix' or 'look'  2 how many things the key holds, '' for a string
--       3 a TTL in ms that it gets at least, or -2  4… what the key stands for
-- Returns 1 if the key has no TTL and all that it stands for has one, else 0.
-- Idempotent: what has a TTL keeps it.
local key, namespaces = KEYS[1], KEYS[2]
is_there(namespaces, 'set')
if wrong then
  return wrong
end
if redis.call('PTTL', key) ~= -1 or redis.call('SISMEMBER', namespaces, PINNED) == 1 then
  return 0
end
local kind = redis.call('TYPE', key).ok
local held = ''
if kind == 'zset' then
  held = redis.call('ZCARD', key)
elseif kind == 'set' then
  held = redis.call('SCARD', key)
end
if tostring(held) ~= ARGV[2] then
  return 0
end
local longest = tonumber(ARGV[3])
for i = 4, #ARGV do
  local left = redis.call('PTTL', ARGV[i])
  if left == -1 then
    return 0
  end
  longest = math.max(longest, left)
end
if longest < 0 then
  return 0
end
if ARGV[1] == 'fix' then
  redis.call('PEXPIRE', key, math.max(longest, 1))
end
return 1
