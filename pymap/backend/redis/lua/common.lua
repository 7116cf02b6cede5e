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
local ORDER = {'uids', 'sets', 'modseqs', 'saved', 'rows'}  -- in which they are told
local META = {'modseq', 'uid_next', 'recent_from', 'floor', 'cost', 'next_set', 'dead'}  -- numbers
local LOG_COST = 100000  -- ranges of UIDs that the change log may hold
local TRIM = 500         -- entries that one script takes from its end
local FEW = 64           -- slices that are read and written one by one
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
  local values = call('HMGET', box.at .. 'meta', 'stamp', unpack(META))
  if not values[2] then return nil end
  for at, name in ipairs(META) do box[name] = tonumber(values[at + 1]) end
  box.stamp = values[1]
  return box
end

local function save(box)
  local values = {'stamp', box.stamp}
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

-- 100 numbers at a time: a third of the cost of one at a time.
local FORMATS = {}
local function numbers(text, at, count, code)
  local format = FORMATS[code .. count]
  if not format then
    format = '<' .. rep(code, count)
    FORMATS[code .. count] = format
  end
  local values = {parse(format, text, at * tonumber(sub(code, 2)) + 1)}
  values[count + 1] = nil  -- where it ended
  return values, format
end

-- Make ready for asking for `count` ranges of UIDs: many find them in a table, which is several
-- times faster to read than text and costs 0.1 us a message to make.
local function prepare(box, count)
  local text = uids(box)
  if box.list or count < FEW or count * 50 < box.count then return end
  local list = {}
  for chunk = 0, box.count - 1, 100 do
    local values = numbers(text, chunk, math.min(100, box.count - chunk), 'I4')
    for i = 1, #values do list[chunk + i] = values[i] end
  end
  box.list = list
end

-- The first position from `low` on whose UID is not below `uid`; the cost is in how far it is.
local function seek(box, uid, low)
  local list, text, count = box.list, box.uids, box.count
  local function at(position)
    if list then return list[position + 1] end
    return get4(text, position)
  end
  if low >= count or at(low) >= uid then return low end
  local step, high = 1, low + 1
  while high < count and at(high) < uid do
    low, step = high, step * 2
    high = low + step
  end
  if high > count then high = count end
  while high - low > 1 do
    local middle = floor((low + high) / 2)
    if at(middle) < uid then low = middle else high = middle end
  end
  return high
end

-- Where the members of a set of UIDs stand: start, stop, start, stop ...
local function slices(box, set)
  local found, low = {}, 0
  local size = #set / 4
  prepare(box, size / 2)
  for chunk = 0, size - 1, 100 do
    local pairs_ = numbers(set, chunk, math.min(100, size - chunk), 'I4')
    for i = 1, #pairs_, 2 do
      local start = seek(box, pairs_[i], low)
      if start == box.count then return found end
      local stop = start
      if pairs_[i] == pairs_[i + 1] then
        if (box.list and box.list[start + 1] or get4(box.uids, start)) == pairs_[i] then
          stop = start + 1
        end
      else
        stop = seek(box, pairs_[i + 1] + 1, start)
      end
      if start < stop then
        if found[#found] == start then
          found[#found] = stop
        else
          found[#found + 1] = start
          found[#found + 1] = stop
        end
      end
      low = stop
    end
  end
  return found
end

local function everything(box)
  uids(box)
  return box.count > 0 and {0, box.count} or {}
end

-- A function that gives the values of a column by slice.
local function reader(box, name, some)
  if #some <= 2 * FEW then
    return function(start, stop) return column(box, name, start, stop) end
  end
  local first, width = some[1], COLUMNS[name]
  local all = column(box, name, first, some[#some])
  return function(start, stop)
    return sub(all, (start - first) * width + 1, (stop - first) * width)
  end
end

local function uniform(text, width)
  return text == rep(sub(text, 1, width), #text / width)
end

-- Those messages of some slices whose flag set is in `keep`, as slices. `keep` is a table of
-- number -> boolean that may work out what is asked of it; without it, all that are not dead.
local function choose(box, some, keep)
  if not keep then
    if box.dead == 0 then return some end
    keep = setmetatable({[DEAD] = false}, {__index = function() return true end})
  end
  local chosen, read = {}, reader(box, 'sets', some)
  local function take(start, stop)
    if chosen[#chosen] == start then
      chosen[#chosen] = stop
    else
      chosen[#chosen + 1] = start
      chosen[#chosen + 1] = stop
    end
  end
  for at = 1, #some, 2 do
    local start, stop = some[at], some[at + 1]
    local sets = read(start, stop)
    if stop - start == 1 or uniform(sets, 4) then
      if keep[get4(sets, 0)] then take(start, stop) end
    else
      local from = nil
      for chunk = 0, stop - start - 1, 100 do
        local values = numbers(sets, chunk, math.min(100, stop - start - chunk), 'I4')
        for i = 1, #values do
          if keep[values[i]] then
            from = from or start + chunk + i - 1
          elseif from then
            take(from, start + chunk + i - 1)
            from = nil
          end
        end
      end
      if from then take(from, stop) end
    end
  end
  return chosen
end

local function size_of(some)
  local size = 0
  for at = 1, #some, 2 do size = size + some[at + 1] - some[at] end
  return size
end

-- The values of some slices, one after the other.
local function gather(box, name, some)
  local parts, read = {}, reader(box, name, some)
  for at = 1, #some, 2 do parts[#parts + 1] = read(some[at], some[at + 1]) end
  return concat(parts)
end

-- The UIDs of some slices: a list of numbers first, last, first, last ...
local function runs_of(box, some)
  prepare(box, #some / 2)
  local list, known, text = {}, box.list, box.uids
  local function uid(position)
    if known then return known[position + 1] end
    return get4(text, position)
  end
  for at = 1, #some, 2 do
    local start, stop = some[at], some[at + 1]
    while start < stop do
      local first, low, high = uid(start), start, stop - 1
      if high == start or uid(high) - first == high - start then
        low = high
      else
        local step = 1
        high = low + 1
        while high < stop and uid(high) - first == high - start do
          low, step = high, step * 2
          high = low + step
        end
        if high > stop then high = stop end
        while high - low > 1 do
          local middle = floor((low + high) / 2)
          if uid(middle) - first == middle - start then low = middle else high = middle end
        end
      end
      if list[#list] == first - 1 then
        list[#list] = uid(low)
      else
        list[#list + 1] = first
        list[#list + 1] = uid(low)
      end
      start = low + 1
    end
  end
  return list
end

local function packed(list)
  local parts, size = {}, #list
  for from = 1, size, 100 do
    local to = math.min(from + 99, size)
    parts[#parts + 1] = pack('<' .. rep('I4', to - from + 1), unpack(list, from, to))
  end
  return concat(parts)
end

-- Write a column anew at some slices; `values` are what stands there then, by slice.
local function write(box, name, some, values)
  local width, key = COLUMNS[name], box.at .. name
  if #some <= 2 * FEW then
    for at = 1, #some, 2 do call('SETRANGE', key, some[at] * width, values[(at + 1) / 2]) end
    return
  end
  local first, last = some[1], some[#some]
  local old = column(box, name, first, last)
  local parts, done = {}, first
  for at = 1, #some, 2 do
    if some[at] > done then
      parts[#parts + 1] = sub(old, (done - first) * width + 1, (some[at] - first) * width)
    end
    parts[#parts + 1] = values[(at + 1) / 2]
    done = some[at + 1]
  end
  call('SETRANGE', key, first * width, concat(parts))
end

-- The same value at some slices.
local function fill(box, name, some, value)
  local values, made = {}, {}
  for at = 1, #some, 2 do
    local count = some[at + 1] - some[at]
    made[count] = made[count] or rep(value, count)
    values[#values + 1] = made[count]
  end
  write(box, name, some, values)
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
  local used, sets = {}, call('GET', box.at .. 'sets') or ''
  for chunk = 0, #sets / 4 - 1, 100 do
    for _, number in ipairs((numbers(sets, chunk, math.min(100, #sets / 4 - chunk), 'I4'))) do
      used[number] = true
    end
  end
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
-- is the number of ranges of UIDs, `kind` what happened to them: a (added), v (vanished), or s, a
-- STORE with its operation and flags: what it does to a message follows from what the message
-- was, so that it need not be said of each. The stamp, microseconds since 1970, tells this change from
-- another that had the same modseq before Redis forgot it in a crash.
local function commit(box, cost, kind, value, ...)
  local log, time = box.at .. 'log', call('TIME')
  box.stamp = time[1] .. string.format('%06d', time[2])
  cost = cost + 1
  call('XADD', log, box.modseq .. '-0', 't', box.stamp, 'n', cost, kind, value, ...)
  box.cost = box.cost + cost
  local trimmed = 0
  while box.cost > LOG_COST and trimmed < TRIM do
    local oldest = call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    local modseq = tonumber(string.match(oldest[1], '^%d+'))
    if modseq == box.modseq then break end
    call('XDEL', log, oldest[1])
    box.cost = box.cost - tonumber(oldest[2][4])
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

-- -- what the account holds --

local function octets_of(rows)
  local octets, count = 0, #rows / COLUMNS.rows
  for chunk = 0, count - 1, 100 do
    local some = math.min(100, count - chunk)
    local format = FORMATS['octets' .. some]
    if not format then
      format = '<' .. rep('I8' .. rep('x', COLUMNS.rows - 8), some)
      FORMATS['octets' .. some] = format
    end
    local values = {parse(format, rows, chunk * COLUMNS.rows + 1)}
    for i = 1, some do octets = octets + values[i] end
  end
  return octets
end

-- Rows came (1) or went (-1). An account that nobody has asked about is not counted.
local function tally(rows, sign)
  local account = base .. 'account'
  if #rows == 0 or call('HEXISTS', account, 'octets') == 0 then return end
  call('HINCRBY', account, 'octets', sign * octets_of(rows))
  call('HINCRBY', account, 'messages', sign * #rows / COLUMNS.rows)
end

-- -- adding and removing --

local function sequence(first, count)
  local list = {}
  for at = 1, count do list[at] = first + at - 1 end
  return packed(list)
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
  box.uids, box.list = nil, nil
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
    local living = choose(box, everything(box))
    for name in pairs(COLUMNS) do call('SET', box.at .. name, gather(box, name, living)) end
  else
    return
  end
  box.dead, box.uids, box.list = 0, nil, nil
end

-- Remove some slices at a new modseq; returns their UIDs.
local function remove(box, some)
  local runs = runs_of(box, some)
  local gone = packed(runs)
  box.modseq = box.modseq + 1
  box.dead = box.dead + size_of(some)
  fill(box, 'sets', some, pack('<I4', DEAD))
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

-- What happened since `known`, "modseq@stamp", for whoever keeps columns of the mailbox:
-- {modseq, uid_next, recent_from, stamp}, and if something did {..., 1, log entries, columns of
-- those added, flag sets}, or {..., 0} if the log does not reach back, or {..., 2} if what is known
-- there never happened here. A modseq below 0 asks for nothing.
local function news(box, known, known_set)
  local modseq, stamp = string.match(known, '^(-?%d+)@(%d*)$')
  modseq = tonumber(modseq)
  if modseq < 0 then return {} end
  local told = {box.modseq, box.uid_next, box.recent_from, box.stamp}
  if modseq == box.modseq and stamp == box.stamp then return told end
  told[5] = 0
  if modseq >= box.modseq then
    told[5] = 2
    return told
  end
  if modseq < box.floor then return told end
  -- The log reaches back to `floor`, whose own entry may be gone: then nothing tells.
  local entries = call('XRANGE', box.at .. 'log', modseq .. '-0', '+')
  if entries[1] and entries[1][1] == modseq .. '-0' then
    if table.remove(entries, 1)[2][2] ~= stamp then
      told[5] = 2
      return told
    end
  end
  local added = {}
  for _, entry in ipairs(entries) do
    if entry[2][5] == 'a' then added[#added + 1] = entry[2][6] end
  end
  local columns, some = {}, #added > 0 and slices(box, concat(added)) or {}
  for at, name in ipairs(ORDER) do columns[at] = gather(box, name, some) end
  told[5], told[6], told[7] = 1, entries, columns
  told[8] = texts_since(box, tonumber(known_set))
  return told
end
