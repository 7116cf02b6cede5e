-- What every script shares: the columns of a mailbox, its flag sets, its change log, its news.
--
-- Rule 1: KEYS[1] is the prefix of one user's keys. It holds the hash tag, so all keys that are
--         made of it are in one slot of a cluster.
-- Rule 2: everything that may fail is looked at before the first write: a script cannot be undone.
-- Rule 3: positions count from 0 and slices are half open. A set of UIDs is a string of pairs
--         (first, last), 32 bits each, little endian, like all numbers in the columns.
-- Rule 4: an expunged message stays in the columns with the flag set DEAD until a quarter of them
--         is dead. So an expunge writes what it removes, not what it leaves.

local base = KEYS[1]
local call, sub, rep, concat, floor = redis.call, string.sub, string.rep, table.concat, math.floor
local pack, parse = struct.pack, struct.unpack

local DEAD = 4294967295
local GONE, LIMIT = redis.error_reply('GONE'), redis.error_reply('LIMIT')
local COLUMNS = {uids = 4, sets = 4, modseqs = 8, saved = 4, rows = 32}
local META = {'modseq', 'uid_next', 'recent_from', 'floor', 'cost', 'next_set', 'dead'}
local LOG_COST = 100000  -- ranges of UIDs that the change log may hold
local TRIM = 500         -- entries that one script takes from its end
local FEW = 64           -- slices that are written one by one
local PIECE = 1000       -- messages in one entry of the queue of references

local function get4(text, at)
  return (parse('<I4', text, at * 4 + 1))
end

local function now()
  return tonumber(call('TIME')[1])
end

-- -- mailboxes --

local function open(id)
  local box = {id = id, at = base .. 'box:' .. id .. ':', texts = {}, numbers = {}}
  local values = call('HMGET', box.at .. 'meta', unpack(META))
  if not values[1] then return nil end
  for at, name in ipairs(META) do box[name] = tonumber(values[at]) end
  return box
end

local function save(box)
  local values = {}
  for _, name in ipairs(META) do
    values[#values + 1] = name
    values[#values + 1] = box[name]
  end
  call('HSET', box.at .. 'meta', unpack(values))
end

local function column(box, name, start, stop)
  local width = COLUMNS[name]
  if start == stop then return '' end
  return call('GETRANGE', box.at .. name, start * width, stop * width - 1)
end

local function uids(box)
  if not box.uids then
    box.uids = call('GET', box.at .. 'uids') or ''
    box.count = #box.uids / 4
  end
  return box.uids
end

-- The first position from `low` on whose UID is not below `uid`; the cost is in how far it is.
local function seek(column, count, uid, low)
  if low >= count or get4(column, low) >= uid then return low end
  local step, high = 1, low + 1
  while high < count and get4(column, high) < uid do
    low, step = high, step * 2
    high = low + step
  end
  if high > count then high = count end
  while high - low > 1 do
    local middle = floor((low + high) / 2)
    if get4(column, middle) < uid then low = middle else high = middle end
  end
  return high
end

-- Where the members of a set of UIDs stand.
local function slices(box, set)
  local column, found, low = uids(box), {}, 0
  for at = 1, #set, 8 do
    local first, last = parse('<I4I4', set, at)
    local start = seek(column, box.count, first, low)
    if start == box.count then break end
    local stop = seek(column, box.count, last + 1, start)
    if start < stop then
      local before = found[#found]
      if before and before[2] == start then
        before[2] = stop
      else
        found[#found + 1] = {start, stop}
      end
    end
    low = stop
  end
  return found
end

-- The living messages of some slices, in groups of neighbours with one flag set:
-- {start, stop, number of the set}.
local function groups(box, some)
  local made = {}
  local all = #some > FEW and call('GET', box.at .. 'sets')
  for _, slice in ipairs(some) do
    local start, stop = slice[1], slice[2]
    local count = stop - start
    local sets = all and sub(all, start * 4 + 1, stop * 4) or column(box, 'sets', start, stop)
    local set, from = get4(sets, 0), 0
    if sets ~= rep(sub(sets, 1, 4), count) then
      for at = 1, count - 1 do
        local other = get4(sets, at)
        if other ~= set then
          if set ~= DEAD then made[#made + 1] = {start + from, start + at, set} end
          set, from = other, at
        end
      end
    end
    if set ~= DEAD then made[#made + 1] = {start + from, stop, set} end
  end
  return made
end

local function everything(box)
  uids(box)
  return box.count > 0 and {{0, box.count}} or {}
end

-- Add the UIDs of a slice to a list of numbers first, last, first, last ...
local function add_runs(box, start, stop, list)
  local column = uids(box)
  while start < stop do
    local first = get4(column, start)
    local low, high = start, stop - 1
    if get4(column, high) - first ~= high - start then
      local step = 1
      high = low + 1
      while high < stop and get4(column, high) - first == high - start do
        low, step = high, step * 2
        high = low + step
      end
      if high > stop then high = stop end
      while high - low > 1 do
        local middle = floor((low + high) / 2)
        if get4(column, middle) - first == middle - start then low = middle else high = middle end
      end
    else
      low = high
    end
    if #list > 0 and list[#list] == first - 1 then
      list[#list] = get4(column, low)
    else
      list[#list + 1] = first
      list[#list + 1] = get4(column, low)
    end
    start = low + 1
  end
end

local function pairs_of(list)
  local made = {}
  for at = 1, #list, 2 do made[#made + 1] = pack('<I4I4', list[at], list[at + 1]) end
  return concat(made)
end

-- Write new values at some slices of a column: edits {start, stop, value of one message}.
local function write(box, name, edits)
  local width, key = COLUMNS[name], box.at .. name
  if #edits <= FEW then
    for _, edit in ipairs(edits) do
      call('SETRANGE', key, edit[1] * width, rep(edit[3], edit[2] - edit[1]))
    end
    return
  end
  local first, last = edits[1][1], edits[#edits][2]
  local old = column(box, name, first, last)
  local parts, at = {}, first
  for _, edit in ipairs(edits) do
    if edit[1] > at then
      parts[#parts + 1] = sub(old, (at - first) * width + 1, (edit[1] - first) * width)
    end
    parts[#parts + 1] = rep(edit[3], edit[2] - edit[1])
    at = edit[2]
  end
  call('SETRANGE', key, first * width, concat(parts))
end

-- -- flag sets --

local function text_of(box, number)
  if number == 0 then return '' end
  local text = box.texts[number]
  if not text then
    text = call('HGET', box.at .. 'flags', number)
    box.texts[number] = text
  end
  return text
end

-- A text as a table: folded name -> name.
local function names_of(text)
  local names = {}
  for name in string.gmatch(text, '%S+') do names[string.lower(name)] = name end
  return names
end

-- Spell the names as the mailbox has first seen them. Returns the new keywords as a list of
-- folded name, name ...; nil if there would be more than `limit` keywords.
local function spell(box, names, limit)
  local folded = {}
  for name in pairs(names) do
    if sub(name, 1, 1) ~= '\\' then folded[#folded + 1] = name end
  end
  table.sort(folded)
  local new = {}
  for from = 1, #folded, 1000 do
    local to = math.min(from + 999, #folded)
    local known = call('HMGET', box.at .. 'keywords', unpack(folded, from, to))
    for at, name in ipairs(known) do
      local key = folded[from + at - 1]
      if name then
        names[key] = name
      else
        new[#new + 1] = key
        new[#new + 1] = names[key]
      end
    end
  end
  if #new > 0 and call('HLEN', box.at .. 'keywords') + #new / 2 > limit then return nil end
  return new
end

local function admit(box, new)
  for from = 1, #new, 1000 do
    call('HSET', box.at .. 'keywords', unpack(new, from, math.min(from + 999, #new)))
  end
end

-- The number of a flag set, that of a new one if need be.
local function number_of(box, names)
  local folded, list = {}, {}
  for name in pairs(names) do folded[#folded + 1] = name end
  table.sort(folded)
  for at, name in ipairs(folded) do list[at] = names[name] end
  local text = concat(list, ' ')
  if text == '' then return 0 end
  local number = box.numbers[text]
  if not number then
    number = tonumber(call('HGET', box.at .. 'flags', '=' .. text) or nil)
    if not number then
      number = box.next_set
      box.next_set = number + 1
      call('HSET', box.at .. 'flags', number, text, '=' .. text, number)
    end
    box.numbers[text] = number
    box.texts[number] = text
  end
  return number
end

-- Forget flag sets that no message has any more, when they are many.
local function forget_sets(box)
  local known = call('HLEN', box.at .. 'flags') / 2
  uids(box)
  if known < 1000 or known < 2 * (box.count - box.dead) then return end
  local used = {}
  for _, group in ipairs(groups(box, everything(box))) do used[group[3]] = true end
  local fields = call('HGETALL', box.at .. 'flags')
  local doomed = {}
  for at = 1, #fields, 2 do
    local number = tonumber(fields[at])
    if number and sub(fields[at], 1, 1) ~= '=' and not used[number] then
      doomed[#doomed + 1] = fields[at]
      doomed[#doomed + 1] = '=' .. fields[at + 1]
    end
  end
  for from = 1, #doomed, 1000 do
    call('HDEL', box.at .. 'flags', unpack(doomed, from, math.min(from + 999, #doomed)))
  end
end

-- -- the change log --

-- Log what the modseq of the mailbox has done, tell who listens, write its numbers back. `cost`
-- is the number of ranges. Fields: a (added, one range), f (flags: set, number of ranges,
-- ranges ...), v (vanished).
local function commit(box, cost, ...)
  local log = box.at .. 'log'
  cost = cost + 1
  call('XADD', log, box.modseq .. '-0', 'n', cost, ...)
  box.cost = box.cost + cost
  local trimmed = 0
  while box.cost > LOG_COST and trimmed < TRIM do
    local oldest = call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    local modseq = tonumber(string.match(oldest[1], '^%d+'))
    if modseq == box.modseq then break end
    call('XDEL', log, oldest[1])
    box.cost = box.cost - tonumber(oldest[2][2])
    box.floor = modseq
    trimmed = trimmed + 1
  end
  save(box)
  call('PUBLISH', base .. 'box:' .. box.id, box.modseq)
end

-- -- references to messages --

-- Say that rows were copied ('+') or removed ('-'): the sweep counts them, in this order.
local function refer(sign, rows)
  local size = PIECE * COLUMNS.rows
  for from = 1, #rows, size do
    call('RPUSH', base .. 'refs', sign .. sub(rows, from, from + size - 1))
  end
end

-- -- adding and removing --

local function sequence(first, count)
  local parts = {}
  local format = '<' .. rep('I4', 100)
  while count >= 100 do
    local numbers = {}
    for at = 1, 100 do numbers[at] = first + at - 1 end
    parts[#parts + 1] = pack(format, unpack(numbers))
    first, count = first + 100, count - 100
  end
  for at = 1, count do parts[#parts + 1] = pack('<I4', first + at - 1) end
  return concat(parts)
end

-- Add messages at a new modseq; returns their UIDs as one pair.
local function add(box, count, sets, rows)
  local first = box.uid_next
  box.modseq = box.modseq + 1
  box.uid_next = first + count
  call('APPEND', box.at .. 'uids', sequence(first, count))
  call('APPEND', box.at .. 'sets', sets)
  call('APPEND', box.at .. 'modseqs', rep(pack('<I8', box.modseq), count))
  call('APPEND', box.at .. 'saved', rep(pack('<I4', now()), count))
  call('APPEND', box.at .. 'rows', rows)
  box.uids = nil
  local made = pack('<I4I4', first, first + count - 1)
  commit(box, 1, 'a', made)
  return made
end

-- Drop the dead from the columns when they are many.
local function compact(box)
  uids(box)
  if box.dead == box.count then
    for name in pairs(COLUMNS) do call('UNLINK', box.at .. name) end
  elseif box.dead > 256 and box.dead * 4 > box.count then
    local living = groups(box, everything(box))
    for name, width in pairs(COLUMNS) do
      local old, parts = call('GET', box.at .. name), {}
      for at, group in ipairs(living) do
        parts[at] = sub(old, group[1] * width + 1, group[2] * width)
      end
      call('SET', box.at .. name, concat(parts))
    end
  else
    return
  end
  box.dead, box.uids = 0, nil
end

-- The rows of some groups, one after the other.
local function rows_of(box, some)
  local parts = {}
  local all = #some > FEW and call('GET', box.at .. 'rows')
  for at, group in ipairs(some) do
    parts[at] = all and sub(all, group[1] * 32 + 1, group[2] * 32)
      or column(box, 'rows', group[1], group[2])
  end
  return concat(parts)
end

-- Remove some groups at a new modseq; returns their UIDs.
local function remove(box, some)
  local edits, runs = {}, {}
  for at, group in ipairs(some) do
    edits[at] = {group[1], group[2], pack('<I4', DEAD)}
    add_runs(box, group[1], group[2], runs)
    box.dead = box.dead + group[2] - group[1]
  end
  local gone = pairs_of(runs)
  box.modseq = box.modseq + 1
  write(box, 'sets', edits)
  compact(box)
  commit(box, #runs / 2, 'v', gone)
  return gone
end

-- -- news --

local function texts_since(box, known)
  local made = {}
  for from = known + 1, box.next_set - 1, 1000 do
    local numbers = {}
    for number = from, math.min(from + 999, box.next_set - 1) do
      numbers[#numbers + 1] = number
    end
    for at, text in ipairs(call('HMGET', box.at .. 'flags', unpack(numbers))) do
      if text then
        made[#made + 1] = numbers[at]
        made[#made + 1] = text
      end
    end
  end
  return made
end

-- What happened since a modseq, for whoever keeps columns of the mailbox: {modseq, uid_next,
-- recent_from}, and if something did {..., 1, log entries, columns of those added, flag sets}
-- or {..., 0} if the log does not reach back. `known` below 0 asks for nothing.
local function news(box, known, known_set)
  known = tonumber(known)
  if known < 0 then return {} end
  local told = {box.modseq, box.uid_next, box.recent_from}
  if known == box.modseq then return told end
  told[4] = known >= box.floor and known < box.modseq and 1 or 0
  if told[4] == 0 then return told end
  local entries = call('XRANGE', box.at .. 'log', (known + 1) .. '-0', '+')
  local added = {}
  for _, entry in ipairs(entries) do
    if entry[2][3] == 'a' then added[#added + 1] = entry[2][4] end
  end
  local columns = {'', '', '', ''}
  for _, slice in ipairs(#added > 0 and slices(box, concat(added)) or {}) do
    for at, name in ipairs({'uids', 'sets', 'saved', 'rows'}) do
      columns[at] = columns[at] .. column(box, name, slice[1], slice[2])
    end
  end
  told[5], told[6], told[7] = entries, columns, texts_since(box, tonumber(known_set))
  return told
end
