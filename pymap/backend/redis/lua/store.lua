-- store(mailbox, known, flag set, limit, UIDs, '' or + or -, flags, unchanged since or -1)
-- Returns {modseq before, modseq, changed, failed, news}.
call('UNLINK', base .. 'none')  -- so that it works in a full store: who deletes flags first
local box = open(ARGV[1])
if not box then return GONE end
local op, flags, since = ARGV[6], names_of(ARGV[7]), tonumber(ARGV[8])
local new = {}
if op ~= '-' then
  new = spell(box, flags, tonumber(ARGV[4]))
  if not new then return LIMIT end
end

-- By number of a flag set, the number that it becomes.
local become = setmetatable({[DEAD] = DEAD}, {__index = function(become, set)
  local names = {}
  if op ~= '' then names = names_of(text_of(box, set)) end
  for folded, name in pairs(flags) do
    if op == '-' then names[folded] = nil else names[folded] = names[folded] or name end
  end
  local number = number_of(box, names)
  become[set] = number
  return number
end})

-- Slices of what changes and of what has changed since; and the flag sets of the former.
local changed, failed, values = {}, {}, {}
local function add(list, start, stop)
  if list[#list] == start then
    list[#list] = stop
    return true
  end
  list[#list + 1] = start
  list[#list + 1] = stop
end
local function change(start, stop, sets)
  if add(changed, start, stop) then
    local last = values[#values]
    if type(last) == 'table' then last[#last + 1] = sets else values[#values] = {last, sets} end
  else
    values[#values + 1] = sets
  end
end

-- Some messages here and there, or of many flag sets: 100 at a time.
local function mixed(start, sets, modseqs)
  local count = #sets / 4
  for chunk = 0, count - 1, 100 do
    local size = math.min(100, count - chunk)
    local old, format = numbers(sets, chunk, size, 'I4')
    local at = modseqs and numbers(modseqs, chunk, size, 'I8')
    local made, state, from = {}, nil, 0
    for i = 1, size + 1 do
      local set, now = old[i], nil
      if set then
        made[i] = set
        if at and at[i] > since and set ~= DEAD then
          now = 'failed'
        elseif become[set] ~= set then
          made[i], now = become[set], 'changed'
        end
      end
      if now ~= state or i == size + 1 then
        local first, stop = start + chunk + from, start + chunk + i - 1
        if state == 'failed' then
          add(failed, first, stop)
        elseif state == 'changed' then
          local text
          if i - 1 - from == 1 then
            text = pack('<I4', made[i - 1])
          else
            if i - 1 - from ~= size then format = '<' .. rep('I4', i - 1 - from) end
            text = pack(format, unpack(made, from + 1, i - 1))
          end
          change(first, stop, text)
        end
        state, from = now, i - 1
      end
    end
  end
end

local before, some, octets = box.modseq, slices(box, ARGV[5]), {}
local read_sets = reader(box, 'sets', some)
local read_modseqs = since >= 0 and reader(box, 'modseqs', some)
for at = 1, #some, 2 do
  local start, stop = some[at], some[at + 1]
  local sets, modseqs = read_sets(start, stop), read_modseqs and read_modseqs(start, stop)
  if stop - start == 1 or uniform(sets, 4) and (not modseqs or uniform(modseqs, 8)) then
    local set = get4(sets, 0)
    if set ~= DEAD and modseqs and parse('<I8', modseqs) > since then
      add(failed, start, stop)
    elseif become[set] ~= set then
      if not octets[set] then octets[set] = pack('<I4', become[set]) end
      change(start, stop, stop - start == 1 and octets[set] or rep(octets[set], stop - start))
    end
  else
    mixed(start, sets, modseqs)
  end
end

local uids_changed = ''
if #changed > 0 then
  local runs = runs_of(box, changed)
  uids_changed = packed(runs)
  admit(box, new)
  box.modseq = before + 1
  for at, parts in ipairs(values) do
    if type(parts) == 'table' then values[at] = concat(parts) end
  end
  write(box, 'sets', changed, values)
  fill(box, 'modseqs', changed, pack('<I8', box.modseq))
  forget_sets(box)
  local spelled = {}  -- as the mailbox has them, so that whoever replays this has the same
  for _, name in pairs(flags) do spelled[#spelled + 1] = name end
  commit(box, #runs / 2, 's', uids_changed, 'op', op, 'flags', concat(spelled, ' '))
end
return {
  before, box.modseq, uids_changed, packed(runs_of(box, failed)), news(box, ARGV[2], ARGV[3]),
}
