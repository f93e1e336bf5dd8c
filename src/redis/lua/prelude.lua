-- Shared by all scripts: it stands in front of each when it is sent.
--
-- Rules that every script keeps:
-- * All keys are in one slot. Keys that depend on data (the document that a pointer names, the
--   writes that a registry names) cannot be in KEYS; each is built from, or checked against, a
--   prefix that holds the thread, so it is in the slot of KEYS.
-- * Everything is checked before the first write, because Redis does not roll back.
-- * Every key is declared by the command that reads it, so that one which has moved to another node
--   of a cluster, ahead of its slot, is an error and never one that is gone. The driver runs the
--   script again when the slot has moved. Modules may declare less than they read: JSON.MGET does.
-- * Running twice is the same as running once.

-- Whether a key is there. One of another type than `wanted` is remembered in `wrong`, which a
-- script returns before it writes anything.
local wrong = nil
local function is_there(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    wrong = wrong or redis.error_reply('LGWRONGTYPE ' .. key)
  end
  return found ~= 'none'
end

-- What a command says of a key, its first argument. One that finds a key of another type is
-- remembered in `wrong`, as above.
local function ask(command, key, ...)
  local found = redis.pcall(command, key, ...)
  if type(found) == 'table' and found.err then
    if string.find(found.err, 'WRONGTYPE', 1, true) or string.find(found.err, 'wrong Redis type', 1, true) then
      found = redis.error_reply('LGWRONGTYPE ' .. key)
    end
    wrong = wrong or found
    return {}
  end
  return found
end

-- Whether one id is less than another, byte for byte; `<` would follow the server's locale.
local function less(one, other)
  -- Halves the range that holds the first difference.
  local first, last = 1, math.min(#one, #other)
  while first < last do
    local middle = math.floor((first + last) / 2)
    if string.sub(one, first, middle) == string.sub(other, first, middle) then
      first = middle + 1
    else
      last = middle
    end
  end
  if first == last and string.byte(one, first) ~= string.byte(other, first) then
    return string.byte(one, first) < string.byte(other, first)
  end
  return #one < #other
end

-- What follows a prefix, or nil if the text does not start with it.
local function after(text, prefix)
  if text and #text > #prefix and string.sub(text, 1, #prefix) == prefix then
    return string.sub(text, #prefix + 1)
  end
end

-- What a script says that has met too many ids whose documents are gone to go on in one step: when
-- the caller has taken them out of the registry it calls again.
local FURTHER = redis.error_reply('LGFURTHER than one step goes')

-- The newest id of a registry whose document is there. The second answer says whether there were too
-- many that are gone, so that there may be one further on.
local function newest_of(registry, prefix)
  local upper = '+'
  for _ = 1, 40 do
    local page = ask('ZREVRANGEBYLEX', registry, upper, '(', 'LIMIT', 0, 100)
    local keys = {}
    for i, id in ipairs(page) do
      keys[i] = prefix .. id
    end
    if #page > 0 and redis.call('EXISTS', unpack(keys)) > 0 then
      for i, id in ipairs(page) do
        if redis.call('EXISTS', keys[i]) == 1 then
          return id, false
        end
      end
    end
    if #page < 100 then
      return nil, false
    end
    upper = '(' .. page[#page]
  end
  return nil, true
end

-- The member of a thread's set of namespaces that says that the thread is pinned.
local PINNED = '\0pinned'

-- The namespace and the id that a member of a thread's set of namespaces marks: as those of a
-- checkpoint whose writes may wait for it, or of one whose writes are being removed. Nil for any other.
local function marked_by(member)
  local marked = after(member, '\0writes\0') or after(member, '\0removed\0')
  local gap = marked and string.find(marked, '\0', 1, true)
  if gap then
    return string.sub(marked, 1, gap - 1), string.sub(marked, gap + 1)
  end
end

-- What a script says that would store something of a checkpoint whose removal has not come to its last
-- writes: the caller ends the removal and calls again. So what is left of it is never read as a part
-- of what is stored.
local HALF_REMOVED = redis.error_reply('LGHALFREMOVED another call is removing its writes')

-- Refuses to go on if another checkpoint than the expected one is the newest: '' expects anything,
-- '-' none, '=ID' that one.
local function check_expected(expected, newest)
  local wanted = nil
  if expected ~= '-' then
    wanted = string.sub(expected, 2)
  end
  if expected ~= '' and newest ~= wanted then
    return redis.error_reply('LGCONFLICT ' .. (newest or ''))
  end
end

-- The TTL of a key that lasts as long as another, of which PTTL says how long it is left: -1 alone
-- means without a TTL. In a key's last millisecond PTTL says 0.
local function as_long_as(left)
  return left == -1 and 0 or math.max(left, 1)
end

-- Gives a key that holds one thing its TTL in milliseconds; 0 is none. `is_new` says that the key
-- was not there before, and so has none yet.
local function expire(key, ttl, is_new)
  if ttl > 0 then
    redis.call('PEXPIRE', key, ttl)
  elseif not is_new then
    redis.call('PERSIST', key)
  end
end

-- Gives a key that is shared by things of different TTLs the longest of them.
local function expire_shared(key, ttl, is_new)
  if ttl == 0 or is_new then
    expire(key, ttl, is_new)
  else
    redis.call('PEXPIRE', key, ttl, 'GT')
  end
end

-- Gives writes, or their registry, the TTL of their checkpoint, which comes after them: they live at
-- least as long as it. What came without a TTL, as in a pinned thread, gets its; nothing else would
-- lead to it when the checkpoint has expired.
local function expire_early(key, ttl)
  local left = redis.call('PTTL', key)
  if ttl == 0 or left == -1 or (left >= 0 and left < ttl) then
    expire(key, ttl, false)
  end
end

-- Gives a thread's set of namespaces its TTL, and says whether all of the thread is due for
-- another. `whole` is 0 where each checkpoint is kept by itself. Where a thread is kept whole it
-- is the TTL that all of it must still have, -1 for none; keys get more than that, and nothing of
-- the thread expires before the set does, which only gets its TTL again when all else has.
local function expire_namespaces(namespaces, ttl, whole, is_new)
  if whole == 0 or is_new then
    expire_shared(namespaces, ttl, is_new)
    return 0
  end
  local left = redis.call('PTTL', namespaces)
  if left == -2 then
    -- Another saver wrote the thread, and none of ours has visited it yet.
    return 1
  end
  return left >= 0 and (whole == -1 or left < whole) and 1 or 0
end

-- The TTL that a call may give: none in a pinned thread, and none in a thread that is kept whole
-- and has something that is kept for ever. Returns it with what all of the thread must have.
local function allowed_ttl(namespaces, ttl, whole, had_namespaces, is_pinned)
  if is_pinned or (had_namespaces and whole > 0 and redis.call('PTTL', namespaces) == -1) then
    return 0, 0
  end
  return ttl, whole
end

-- What is at a path of documents; false for a key that is not there. JSON.MGET declares its first
-- key alone, so in a cluster another that has moved already, on the way of its slot, would read as
-- one that is gone. EXISTS declares all of them, and ends the script then.
local function read_all(keys, path)
  local documents = {}
  for first = 1, #keys, 1000 do
    local slice = { unpack(keys, first, math.min(first + 999, #keys)) }
    redis.call('EXISTS', unpack(slice))
    slice[#slice + 1] = path
    for _, document in ipairs(redis.call('JSON.MGET', unpack(slice))) do
      documents[#documents + 1] = document
    end
  end
  return documents
end

-- What documents say of themselves: { thread, namespace, checkpoint } of each; false for a key that
-- is not there, and a list that lacks something for a document of another kind.
local function names_of(keys)
  local names = {}
  for i, found in ipairs(read_all(keys, "$['thread_id','checkpoint_ns','checkpoint_id']")) do
    names[i] = found and cjson.decode(found)
  end
  return names
end

-- Whether a document of shallow mode says that it is in a namespace. The blocking saver of the
-- Python package stores the root under the name that it has in keys, its async twin as it is.
local function is_namespace(found, namespace)
  return found == namespace or (namespace == '' and found == '__empty__')
end

-- What marks the writes of a checkpoint in shallow mode that are being removed; those of all checkpoints
-- of the namespace without an id.
local function shallow_mark(stored, id)
  return '\0removed\0' .. stored .. '\0' .. (id == '' and 'shallow' or id)
end

-- Of a registry of writes that threads may share, the keys that are this namespace's own and those
-- that are gone; at most about as many as given. `wanted` says of a checkpoint's id whether its writes are
-- looked for. Begins at a rank, the first if none is given, and returns that of the next, nil at the end.
local function own_writes(registry, prefix, thread, namespace, most, wanted, first)
  local own, gone = {}, {}
  local page
  first = first or 0
  repeat
    page = redis.call('ZRANGE', registry, first, first + 999)
    first = first + 1000
    local keys = {}
    for _, key in ipairs(page) do
      local id = string.match(after(key, prefix) or '', '^(.+):[^:]*:[^:]*$')
      if id and wanted(id) then
        keys[#keys + 1] = key
      end
    end
    for i, names in ipairs(names_of(keys)) do
      if not names then
        gone[#gone + 1] = keys[i]
      elseif names[1] == thread and is_namespace(names[2], namespace) and wanted(names[3]) then
        own[#own + 1] = keys[i]
      end
    end
  until #page < 1000 or #own + #gone >= most
  return own, gone, #page == 1000 and first or nil
end

-- Removes writes, and takes those out of the registry that are gone already.
local function remove_writes(registry, own, gone)
  for _, key in ipairs(own) do
    redis.call('UNLINK', key)
    redis.call('ZREM', registry, key)
  end
  for _, key in ipairs(gone) do
    redis.call('ZREM', registry, key)
  end
end

-- Takes some of what has expired out of a thread's registries: three that chance picks, so that a
-- thread that goes on for ever remembers little more than what is there.
local function sweep(registry, prefix, namespaces, registries, write_registries)
  local ids = redis.call('ZRANDMEMBER', registry, 3)
  local keys = {}
  for i, id in ipairs(ids) do
    keys[i] = prefix .. id
  end
  if redis.call('EXISTS', unpack(keys)) < #keys then
    for i, id in ipairs(ids) do
      if id ~= '' and redis.call('EXISTS', keys[i]) == 0 then
        redis.call('ZREM', registry, id)
      end
    end
  end
  for _, member in ipairs(redis.call('SRANDMEMBER', namespaces, 3)) do
    local space, id = marked_by(member)
    if space then
      if redis.call('EXISTS', write_registries .. space .. ':' .. id) == 0 then
        redis.call('SREM', namespaces, member)
      end
    elseif string.sub(member, 1, 1) ~= '\0' and registries .. member ~= registry
      and redis.call('EXISTS', registries .. member) == 0 then
      -- A namespace may be there for writes alone; of very many members not each is looked at.
      local awaited = false
      if redis.call('SCARD', namespaces) <= 200 then
        for _, other in ipairs(redis.call('SMEMBERS', namespaces)) do
          awaited = awaited or marked_by(other) == member
        end
      end
      if not awaited then
        redis.call('SREM', namespaces, member)
      end
    end
  end
end

-- Refuses keys of writes of another type, and says how many are there. Most often none is.
local function count_writes(keys)
  local found = 0
  for first = 1, #keys, 1000 do
    found = found + redis.call('EXISTS', unpack(keys, first, math.min(first + 999, #keys)))
  end
  for i = 1, found > 0 and #keys or 0 do
    is_there(keys[i], 'ReJSON-RL')
  end
  return found
end

-- Stores writes and registers them; one that is there is kept unless it is to be replaced. `are_new`
-- says that none was there before. Returns how many were stored.
local function store_writes(registry, keys, documents, replace, ttl, are_new)
  local stored = 0
  for i, key in ipairs(keys) do
    local done
    if replace then
      done = redis.call('JSON.SET', key, '$', documents[i])
    else
      done = redis.call('JSON.SET', key, '$', documents[i], 'NX')
    end
    if done then
      stored = stored + 1
      expire(key, ttl, are_new)
    end
  end
  for first = 1, #keys, 1000 do
    local members = {}
    for i = first, math.min(first + 999, #keys) do
      members[#members + 1] = i - 1
      members[#members + 1] = keys[i]
    end
    redis.call('ZADD', registry, unpack(members))
  end
  return stored
end

-- How many writes, and about how many bytes of them, one script reads: so it holds the server for
-- some milliseconds at most.
local function some_writes()
  return { writes = 400, bytes = 1048576 }
end

-- Appends the documents of a checkpoint's writes to `documents`, as far as `left` allows. Returns
-- their keys, and the first key that the registry names and that is gone; no keys if there are more
-- writes than are left.
local function append_writes(documents, registry, prefix, left)
  local page = ask('ZRANGE', registry, 0, left.writes)
  if #page > left.writes then
    return nil
  end
  local keys, gone = {}, nil
  for _, key in ipairs(page) do
    if after(key, prefix) then
      keys[#keys + 1] = key
    end
  end
  for first = 1, #keys, 50 do
    if left.bytes <= 0 then
      return nil
    end
    local slice = { unpack(keys, first, math.min(first + 49, #keys)) }
    for i, document in ipairs(read_all(slice, '.')) do
      if document then
        documents[#documents + 1] = document
        left.bytes = left.bytes - #document
      elseif not is_there(slice[i], 'ReJSON-RL') then
        gone = gone or slice[i]
      end
    end
  end
  left.writes = left.writes - #page
  return keys, gone
end

-- The same of two registries; the second may be none (false).
local function append_all_writes(documents, registry, shared, prefix, left)
  local keys, gone = append_writes(documents, registry, prefix, left)
  if not keys or not shared then
    return keys, gone
  end
  local more, gone_too = append_writes(documents, shared, prefix, left)
  for _, key in ipairs(more or {}) do
    keys[#keys + 1] = key
  end
  return more and keys, gone or gone_too
end

-- A page of a namespace's checkpoint ids, newest first, behind its state: 'complete', or 'incomplete' if
-- another saver wrote checkpoints that the registry does not name.
local function page_of(registry, pointer, prefix, upper, count)
  local newest = after(ask('GET', pointer), prefix)
  local state = 'complete'
  if ask('ZSCORE', registry, '') or (newest and not ask('ZSCORE', registry, newest)) then
    state = 'incomplete'
  end
  local page = ask('ZREVRANGEBYLEX', registry, upper, '(', 'LIMIT', 0, count)
  table.insert(page, 1, state)
  return page
end

-- Whether a document says that its writes were registered: by one of our savers, which see to it that
-- they and their registry live as long as it.
local function is_registered(document)
  return redis.call('JSON.GET', document, '$.registered') == '[true]'
end

-- What is said of a checkpoint whose document is there while one of its writes is gone. Something else
-- than time has removed it, unless another saver wrote them: those may expire before the document.
local function lost(document, key)
  if is_registered(document) then
    return redis.error_reply('LGLOST ' .. key)
  end
end
