-- Removes a document or a write, if it says that it is a thread's.
--
-- KEYS  1 the key
-- ARGV  1 thread  2 namespace, as stored; '' for any  3 checkpoint; '' for any
--       4 'nameless' if it may also say nothing of itself
-- Returns 1 if it was removed, 0 if it is another's, -1 if it is gone.
-- Idempotent: what is gone stays gone.
local key = KEYS[1]
if redis.call('TYPE', key).ok ~= 'ReJSON-RL' then
  return redis.call('EXISTS', key) - 1
end
local names = names_of({ key })[1]
local theirs = names[2] == '' and '__empty__' or names[2]
local is_own = names[1] == ARGV[1]
  and (ARGV[2] == '' or theirs == ARGV[2])
  and (ARGV[3] == '' or names[3] == ARGV[3])
if is_own or (#names == 0 and ARGV[4] == 'nameless') then
  return redis.call('UNLINK', key)
end
return 0
