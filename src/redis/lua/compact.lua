-- Shared by the scripts of the compact layout: it stands in front of each when it is sent.
--
-- A thread is three keys in one slot, which have the same TTL. Every script has them as KEYS 1 to 3:
--   heads   sorted set, scores 0: namespace 00 checkpoint id 00 head
--   parts   hash: digest (16 bytes) -> part; and fields that are no digests: `version` changes with every
--           put, `writes` is there if the third key must be, `blobs` is how many of its members are blobs,
--           `removed` counts the removals since nothing was left to collect
--   writes  sorted set, scores 0: namespace 00 checkpoint id 00 task id 00 index (8 bytes) record
-- In ids the byte 0 is 1 1 and the byte 1 is 1 2, so that members sort as ids do. What precedes a head
-- or a record is its place. A blob is a member of `writes` without a checkpoint id: its place is
-- namespace 00 00 channel 00 version 00.
--
-- A head begins with a byte, the length of the parent id in 4 bytes, the parent id, and roots; a record
-- with a byte and roots. Roots are their number in 2 bytes and 17 bytes each: the level of the root,
-- 0 for a leaf, and its digest. An index part is a byte, its level, and 20 bytes a child, of which 16 are
-- the digest.
--
-- Rules that every script keeps: all is checked before the first write, which a server without free
-- memory refuses if it stores anything; running twice is the same as running once.
local heads, parts, writes = KEYS[1], KEYS[2], KEYS[3]

-- What a command says of a key, its first argument. A key of another type is remembered in `wrong`,
-- which a script returns before it writes anything.
local wrong = nil
local function ask(command, key, ...)
  local found = redis.pcall(command, key, ...)
  if type(found) == 'table' and found.err then
    if string.find(found.err, 'WRONGTYPE', 1, true) then
      found = redis.error_reply('LGWRONGTYPE ' .. key)
    end
    wrong = wrong or found
    return {}
  end
  return found
end

-- The range of members whose place starts so: no head, record or id starts with the byte 255.
local function from(place)
  return '[' .. place
end
local function to(place)
  return '(' .. place .. '\255'
end

-- The first members of a place.
local function at(key, place, most)
  return ask('ZRANGEBYLEX', key, from(place), to(place), 'LIMIT', 0, most)
end

-- The part of a member up to and with its 00 of this number. A member without is no saver's, and is
-- remembered in `wrong` as well.
local function up_to(key, member, number)
  local last = 0
  for _ = 1, number do
    last = string.find(member, '\0', last + 1, true)
    if not last then
      wrong = wrong or redis.error_reply('LGUNREADABLE ' .. key)
      return ''
    end
  end
  return string.sub(member, 1, last)
end

-- The newest head of a namespace, of which `namespace` is the place.
local function newest_of(namespace)
  return ask('ZREVRANGEBYLEX', heads, to(namespace), from(namespace), 'LIMIT', 0, 1)[1]
end

-- The place of the checkpoint of a member.
local function checkpoint_of(key, member)
  return up_to(key, member, 2)
end

-- The id in the place of a checkpoint, as it is in members.
local function id_in(place)
  return string.sub(place, (string.find(place, '\0', 1, true) or 0) + 1, -2)
end

-- An id as it is outside of members.
local function plain(id)
  return (string.gsub(id, '\1(.)', { ['\1'] = '\0', ['\2'] = '\1' }))
end

-- A number in some bytes of a text. Where the text has ended they are 0.
local function number_at(text, first, bytes)
  local number = 0
  for i = first, first + bytes - 1 do
    number = number * 256 + (string.byte(text, i) or 0)
  end
  return number
end

-- Where the roots in a head begin that starts at a position of a member.
local function roots_of_head(member, first)
  return first + 5 + number_at(member, first + 1, 4)
end

-- Where the roots in a record begin, of which the place of its checkpoint is known.
local function roots_of_record(member, checkpoint)
  if id_in(checkpoint) == '' then
    return #up_to(writes, member, 4) + 2
  end
  return #up_to(writes, member, 3) + 10
end

-- Appends the roots that begin at a position to a list, each with its level in front.
local function append_roots(list, member, first)
  for i = 0, number_at(member, first, 2) - 1 do
    list[#list + 1] = string.sub(member, first + 2 + 17 * i, first + 18 + 17 * i)
  end
end

-- How far above the leaves a part is: 0 if it is no index part.
local function level_of(part)
  if string.byte(part, 1) ~= 2 or #part % 20 ~= 2 then
    return 0
  end
  return string.byte(part, 2)
end

-- Appends the children of an index part to a list, each with its level in front. Something else has none.
local function append_children(list, part)
  if level_of(part) == 0 then
    return
  end
  local level = string.char(level_of(part) - 1)
  for first = 3, #part, 20 do
    list[#list + 1] = level .. string.sub(part, first, first + 15)
  end
end

-- How long a thread is left: -1 without a TTL, -2 if it is not there.
local function time_left()
  local left = redis.call('PTTL', parts)
  if left == -2 then
    left = redis.call('PTTL', heads)
  end
  if left == -2 then
    left = redis.call('PTTL', writes)
  end
  return left
end

-- Lets a thread that had `left` last for `ttl` at least, 0 for ever: the longest of all that was asked
-- for. What the script has just made has no TTL yet.
local function keep(left, ttl)
  if left == -1 or (left == -2 and ttl == 0) then
    return
  end
  for _, key in ipairs(KEYS) do
    if ttl == 0 then
      redis.call('PERSIST', key)
    else
      redis.call('PEXPIRE', key, math.max(left, ttl))
    end
  end
end

-- Which of the digests in ARGV from `first` to `last` the thread does not have.
local function missing_of(first, last)
  local missing = {}
  for i = first, last do
    if ask('HEXISTS', parts, ARGV[i]) == 0 then
      missing[#missing + 1] = ARGV[i]
    end
  end
  return missing
end

-- Gives a thread a version that it has not had before: the time in µs.
local function begin_version()
  local now = redis.call('TIME')
  redis.call('HSET', parts, 'version', now[1] .. string.format('%06d', now[2]))
end

-- Stores the parts in ARGV from `first` on, each behind its digest, and changes the version.
local function store_parts(first)
  if redis.call('HINCRBY', parts, 'version', 1) == 1 then
    begin_version()
    -- This key alone was lost, and with it what it said of the writes.
    if redis.call('EXISTS', heads, writes) > 0 then
      redis.call('HSET', parts, 'writes', 1)
    end
  end
  for i = first, #ARGV, 1000 do
    redis.call('HSET', parts, unpack(ARGV, i, math.min(i + 999, #ARGV)))
  end
end

-- What is said where all writes of a thread are gone but not its checkpoints, or may be: where also the
-- key is gone that says whether there were any.
local function lost_writes()
  if ask('EXISTS', writes) == 1 then
    return nil
  end
  local found = ask('HMGET', parts, 'version', 'writes')
  if (found[1] and not found[2]) or ask('EXISTS', heads) == 0 then
    return nil
  end
  return redis.error_reply('LGLOST ' .. (found[2] and writes or parts))
end
