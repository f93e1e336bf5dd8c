-- Changes the TTL of a namespace's checkpoints with their writes, and of what they share.
--
-- KEYS  1 registry of checkpoints  2 pointer to the newest  3 set of namespaces
-- ARGV  1 prefix of the namespace's documents  2 prefix of the registries of its writes
--       3 prefix of the keys of its writes  4 TTL in ms, 0 for none
--       5 'pin', 'unpin', 'touch', 'read' for what was read, or for a thread that is kept whole 'keep' all
--       but the set of namespaces and, when that is done, 'kept' the set. A thread is pinned by 'mark',
--       which marks it, and then 'pin', which changes nothing of a thread without the mark; and unpinned
--       by 'unmark', then 'unpin', which changes nothing of one with it, and when that is done 'unpinned'
--       for the set. Without ids 'unpin' gives the registry and the pointer their TTL.
--       6 how many writes of the first id to leave out  7 namespace, as stored  8… ids
-- Returns { how many of the ids were done; how many writes of the next to leave out }: after some
-- hundreds of keys the caller goes on in another step.
-- Errors  LGWRONGTYPE key.
-- Idempotent: the TTL is the same, counted from the second run.
local registry, pointer, namespaces = unpack(KEYS)
local ttl, verb = tonumber(ARGV[4]), ARGV[5]

-- How long in milliseconds the set of namespaces leads to what has no TTL yet while a thread is unpinned:
-- 30 days.
local UNPINNING = 2592000000
-- How long in milliseconds what a checkpoint shares with others stays at least: other calls may be on
-- their way along it.
local LEAST = 1000

local is_pinned = ask('SISMEMBER', namespaces, PINNED) == 1
if wrong then
  return wrong
end
if verb == 'mark' then
  -- A thread that has expired since it was looked at is not pinned: nothing would remove the mark.
  if redis.call('EXISTS', namespaces) == 1 then
    redis.call('SADD', namespaces, PINNED)
    redis.call('PERSIST', namespaces)
  end
  return { 0, 0 }
elseif verb == 'unmark' then
  redis.call('SREM', namespaces, PINNED)
  -- What is stored while all else gets its TTL gets its own too: a set without one says that the
  -- thread has something that is kept for ever. This one lasts longer than any unpinning.
  if ttl > 0 then
    redis.call('PEXPIRE', namespaces, math.max(ttl, UNPINNING))
  end
  return { 0, 0 }
elseif is_pinned ~= (verb == 'pin') and (verb == 'pin' or verb == 'unpin' or verb == 'unpinned') then
  -- Another call has unpinned or pinned it since, and visits all of it.
  return { #ARGV - 7, 0 }
elseif verb == 'unpinned' then
  -- Last, because it leads to all else.
  if ttl > 0 then
    redis.call('PEXPIRE', namespaces, math.max(ttl, LEAST))
  end
  return { 0, 0 }
elseif is_pinned then
  ttl = 0
end

-- What has no TTL stays so when it is touched or read, and what has none to get back keeps its own.
local function change(key, longer)
  local lasting = longer or ttl
  if verb == 'pin' then
    redis.call('PERSIST', key)
  elseif verb == 'touch' or verb == 'read' then
    if ttl > 0 then
      redis.call('PEXPIRE', key, lasting, 'XX')
    end
  elseif verb == 'keep' then
    expire_shared(key, ttl, false)
  elseif ttl > 0 then
    expire(key, lasting)
  end
end
local function change_shared(key)
  if verb ~= 'read' then
    change(key, math.max(ttl, LEAST))
  elseif ttl > 0 then
    redis.call('PEXPIRE', key, ttl, 'GT')
  end
end

if verb == 'kept' then
  expire_shared(namespaces, ttl, false)
  return { 0, 0 }
end

local left, done, leave_out = 1000, 0, tonumber(ARGV[6])
-- Whether nothing leads to a checkpoint or its writes any more: the registry or the document has expired,
-- and the writes wait for no other. Without a TTL they would stay for good.
local function is_over(id)
  return (verb == 'pin' or (verb == 'keep' and ttl == 0))
    and not (ask('ZSCORE', registry, id) and redis.call('EXISTS', ARGV[1] .. id) == 1)
    and redis.call('SISMEMBER', namespaces, '\0writes\0' .. ARGV[7] .. '\0' .. id) == 0
end

for i = 8, #ARGV do
  local id = ARGV[i]
  local writes = ARGV[2] .. id
  local size = ask('ZCARD', writes)
  if wrong then
    return wrong
  end
  if i > 8 and left < 1000 and size >= left then
    -- In the next step, all of it at once: in between its registry could expire.
    break
  end
  if verb == 'unpin' and leave_out == 0 then
    -- First the document: a write that comes from now on lives as long as it says now.
    change(ARGV[1] .. id)
  end
  local over = is_over(id)
  local page = not over and left > 0 and ask('ZRANGE', writes, leave_out, leave_out + left - 1) or {}
  if wrong then
    return wrong
  end
  if verb == 'pin' and #page > 0 then
    -- It is what leads to them, should they take several steps.
    change(writes)
  end
  for _, key in ipairs(page) do
    if after(key, ARGV[3] .. id .. ':') then
      change(key)
    end
  end
  if left <= #page then
    leave_out = leave_out + #page
    break
  end
  -- The document last: its writes live as long as it.
  left = left - #page - 1
  if not over then
    change(writes)
    change(ARGV[1] .. id)
  end
  done, leave_out = done + 1, 0
end
if verb == 'unpin' and #ARGV > 7 then
  -- It leads to what has no TTL yet, also when a call that unpinned the thread before ends only now.
  if ttl > 0 then
    redis.call('PEXPIRE', registry, math.max(ttl, LEAST), 'GT')
  end
else
  change_shared(registry)
  change_shared(pointer)
end
if verb ~= 'keep' and verb ~= 'unpin' then
  change_shared(namespaces)
end
return { done, leave_out }
