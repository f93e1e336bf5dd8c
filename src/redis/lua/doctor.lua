-- Shared by the doctor's scripts: it stands behind the prelude and in front of each.
--
-- A script of the doctor looks at a bounded number of things, so that it never holds the server for
-- long. It reads one document a command: a key whose slot moves is then an error, never nil.

-- What a document says of whose it is, as JSON; nil if it is not there or no document.
local function says(key)
  local said = redis.pcall('JSON.GET', key, "$['thread_id','checkpoint_ns','checkpoint_id']")
  return type(said) == 'string' and said or nil
end

-- Whether nobody can tell if a thread is pinned: its set of namespaces, which would say so, is lost.
-- `witness` is a key of ours that never comes without the set and, in a pinned thread, has no TTL.
-- Where there is none the thread was written by others, who pin nothing.
local function is_unsure(namespaces, witness)
  return redis.call('EXISTS', namespaces) == 0 and redis.call('PTTL', witness) == -1
end

-- Adds members to a set of namespaces that goes with a key which has so much time left.
local function list_in(namespaces, left, ...)
  local had_namespaces = redis.call('EXISTS', namespaces) == 1
  redis.call('SADD', namespaces, ...)
  expire_shared(namespaces, as_long_as(left), not had_namespaces)
end

-- Adds a member to a registry, for something that has so much time left.
local function register_in(registry, left, score, member)
  local had_registry = redis.call('EXISTS', registry) == 1
  redis.call('ZADD', registry, score, member)
  expire_shared(registry, as_long_as(left), not had_registry)
end

-- Gives a key that has no TTL the one that it should have, unless its thread is pinned or nobody can
-- tell; adds to `found` what it saw, and returns the time that the key has left.
local function mend_ttl(found, fix, key, left, ttl, namespaces, unsure)
  if left ~= -1 or ttl == 0 then
    return left
  end
  if unsure then
    found[#found + 1] = 'unsure'
  elseif redis.call('SISMEMBER', namespaces, PINNED) == 0 then
    found[#found + 1] = 'ttl'
    if fix then
      redis.call('PEXPIRE', key, ttl)
      return ttl
    end
  end
  return left
end
