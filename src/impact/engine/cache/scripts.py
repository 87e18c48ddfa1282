"""What Redis does in one step. A tag's version is msgpack: [generation, wal, holds].

``generation`` only ever grows: it is Redis's clock in microseconds, or one more than before
where that is larger, so that a version lost to eviction or FLUSHALL never comes back as an old
one. ``wal`` is the WAL position of the last commit, 0 where it is unknown. ``holds`` are the
commits under way: [name, when it lapses].
"""

_READ = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function version(key)
  local raw = redis.call('GET', key)
  if raw then return cmsgpack.unpack(raw) end
  return nil
end
"""

RAISE = (
    _READ
    + """
-- KEYS: tags. ARGV: channel, tags' names (msgpack), name of the hold, its length in microseconds
-- (0: the commit is done), wal, lifetime in ms. Answers generation and clock.
local clock = now()
local generation = clock
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = version(key) or {0, 0, {}}
  if found[i][1] >= generation then generation = found[i][1] + 1 end
end
local length, wal = tonumber(ARGV[4]), tonumber(ARGV[5])
for i, key in ipairs(KEYS) do
  local holds, position = {}, math.max(found[i][2], wal)
  for _, hold in ipairs(found[i][3]) do
    if hold[1] ~= ARGV[3] then
      -- Whoever let it lapse may have committed: where, nobody knows.
      if hold[2] > clock then holds[#holds + 1] = hold else position = wal end
    end
  end
  if length > 0 then holds[#holds + 1] = {ARGV[3], clock + length} end
  redis.call('SET', key, cmsgpack.pack({generation, position, holds}), 'PX', ARGV[6])
end
redis.call('PUBLISH', ARGV[1], cmsgpack.pack({clock, generation, cmsgpack.unpack(ARGV[2])}))
return {generation, clock}
"""
)

LOOK = (
    _READ
    + """
-- KEYS: entry, lock, tags. ARGV: channel, tags' names (msgpack), versions' lifetime in ms, who
-- would hold the lock ('' for nobody), its lifetime in ms. Gives a version to the tags that have
-- none and ends holds that have lapsed. Takes the lock where no entry stands for the versions and
-- no commit is under way. Answers the entry if it stands, the lock (1 taken, 0 another has it, -1
-- not tried), the versions.
local clock = now()
local names = cmsgpack.unpack(ARGV[2])
local ended, newest, held = {}, 0, false
local generations, answers = {}, {}
for i = 3, #KEYS do
  local key = KEYS[i]
  local found = version(key)
  if not found then
    found = {clock, 0, {}}
    redis.call('SET', key, cmsgpack.pack(found), 'PX', ARGV[3])
  else
    local holds = {}
    for _, hold in ipairs(found[3]) do
      if hold[2] > clock then holds[#holds + 1] = hold end
    end
    if #holds < #found[3] then
      found = {math.max(clock, found[1] + 1), 0, holds}
      redis.call('SET', key, cmsgpack.pack(found), 'PX', ARGV[3])
      ended[#ended + 1] = names[i - 2]
      newest = math.max(newest, found[1])
    end
    held = held or #holds > 0
  end
  generations[i - 2] = found[1]
  answers[i] = cmsgpack.pack(found)
end
if #ended > 0 then redis.call('PUBLISH', ARGV[1], cmsgpack.pack({clock, newest, ended})) end
answers[1], answers[2] = false, -1
if held then return answers end
local raw = redis.call('GET', KEYS[1])
if raw then
  -- An entry is an array that begins with the generations it was filled under.
  local read, _, filled = pcall(cmsgpack.unpack_one, raw, 1)
  local good = read and type(filled) == 'table'
  for i, generation in ipairs(generations) do good = good and filled[i] == generation end
  if good then
    answers[1] = raw
    return answers
  end
end
if ARGV[4] ~= '' then
  answers[2] = redis.call('SET', KEYS[2], ARGV[4], 'NX', 'PX', ARGV[5]) and 1 or 0
end
return answers
"""
)

STORE = (
    _READ
    + """
-- KEYS: entry, lock, tags. ARGV: generations (msgpack), entry, lifetime in ms, the lock's holder.
-- Stores the entry unless a version moved or a commit is under way. Answers 1 where it did.
local generations = cmsgpack.unpack(ARGV[1])
local good = 1
for i = 3, #KEYS do
  local found = version(KEYS[i])
  if not found or found[1] ~= generations[i - 2] or #found[3] > 0 then good = 0 end
end
if good == 1 then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
if redis.call('GET', KEYS[2]) == ARGV[4] then redis.call('DEL', KEYS[2]) end
return good
"""
)

UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

BEAT = (
    _READ
    + """
-- ARGV: channel, anything. Whoever hears it has heard all that was published before.
redis.call('PUBLISH', ARGV[1], cmsgpack.pack({now(), ARGV[2]}))
return 1
"""
)
