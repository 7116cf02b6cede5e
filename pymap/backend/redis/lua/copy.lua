-- copy(mailbox, known, flag set, target, its known, its flag set, limit, UIDs, 1 to move)
-- Returns {source UIDs, target UIDs, news, news of the target}.
local box = open(ARGV[1])
if not box then return GONE end
local target = ARGV[4] == ARGV[1] and box or open(ARGV[4])
if not target then return redis.error_reply('TARGET') end
local moving = ARGV[9] == '1'
if moving then call('UNLINK', base .. 'none') end  -- takes no memory: also in a full store
local these = choose(box, slices(box, ARGV[8]))
if #these == 0 then
  return {'', '', news(box, ARGV[2], ARGV[3]), news(target, ARGV[5], ARGV[6])}
end

local count, sets = size_of(these), gather(box, 'sets', these)
local used, names = {}, {}
local same = uniform(sets, 4)
for chunk = 0, same and 0 or count - 1, 100 do
  for _, set in ipairs((numbers(sets, chunk, same and 1 or math.min(100, count - chunk), 'I4'))) do
    if not used[set] then
      used[set] = names_of(text_of(box, set))
      for folded, name in pairs(used[set]) do names[folded] = names[folded] or name end
    end
  end
end
local new = spell(target, names, tonumber(ARGV[7]))
if not new or target.uid_next + count > 4294967295 then return LIMIT end
admit(target, new)
local become = {}
for set, own in pairs(used) do
  for folded in pairs(own) do own[folded] = names[folded] end
  become[set] = number_of(target, own)
end
if same then
  sets = rep(pack('<I4', become[get4(sets, 0)]), count)
elseif box ~= target then
  local parts = {}
  for chunk = 0, count - 1, 100 do
    local values, format = numbers(sets, chunk, math.min(100, count - chunk), 'I4')
    for i = 1, #values do values[i] = become[values[i]] end
    parts[#parts + 1] = pack(format, unpack(values))
  end
  sets = concat(parts)
end
local source, rows = packed(runs_of(box, these)), gather(box, 'rows', these)
if not moving then refer('+', rows) end
local made = add(target, count, sets, rows)
if moving then remove(box, these) else tally(rows, 1) end
return {source, made, news(box, ARGV[2], ARGV[3]), news(target, ARGV[5], ARGV[6])}
