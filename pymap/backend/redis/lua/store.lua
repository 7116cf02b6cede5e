-- store(mailbox, modseq, flag set, limit, UIDs, '' or + or -, flags, unchanged since or -1)
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
local become = {}
local function apply(set)
  local names = {}
  if op ~= '' then names = names_of(text_of(box, set)) end
  for folded, name in pairs(flags) do
    if op == '-' then names[folded] = nil else names[folded] = names[folded] or name end
  end
  become[set] = number_of(box, names)
  return become[set]
end

local before = box.modseq
local todo, failed = groups(box, slices(box, ARGV[5])), {}
if since >= 0 then
  local passed = {}
  for _, group in ipairs(todo) do
    local modseqs = column(box, 'modseqs', group[1], group[2])
    local from, ok = group[1], nil
    for at = group[1], group[2] do
      local this = nil
      if at < group[2] then this = parse('<I8', modseqs, (at - group[1]) * 8 + 1) <= since end
      if at > group[1] and this ~= ok then
        if ok then passed[#passed + 1] = {from, at, group[3]} else add_runs(box, from, at, failed) end
        from = at
      end
      ok = this
    end
  end
  todo = passed
end

local sets, modseqs, changed, by_set = {}, {}, {}, {}
local modseq = before + 1
local stamp = pack('<I8', modseq)
for _, group in ipairs(todo) do
  local number = become[group[3]] or apply(group[3])
  if number ~= group[3] then
    sets[#sets + 1] = {group[1], group[2], pack('<I4', number)}
    modseqs[#modseqs + 1] = {group[1], group[2], stamp}
    add_runs(box, group[1], group[2], changed)
    if not by_set[number] then by_set[number] = {} end
    add_runs(box, group[1], group[2], by_set[number])
  end
end
if #changed > 0 then
  admit(box, new)
  box.modseq = modseq
  write(box, 'sets', sets)
  write(box, 'modseqs', modseqs)
  local told, cost = {}, 0
  for number, runs in pairs(by_set) do
    told[#told + 1] = pack('<I4I4', number, #runs / 2) .. pairs_of(runs)
    cost = cost + #runs / 2
  end
  forget_sets(box)
  commit(box, cost, 'f', concat(told))
end
return {before, box.modseq, pairs_of(changed), pairs_of(failed), news(box, ARGV[2], ARGV[3])}
