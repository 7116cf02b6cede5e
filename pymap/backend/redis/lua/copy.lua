-- copy(mailbox, modseq, flag set, target, its modseq, its flag set, limit, UIDs, 1 to move)
-- Returns {source UIDs, target UIDs, news, news of the target}.
local box = open(ARGV[1])
if not box then return GONE end
local target = ARGV[4] == ARGV[1] and box or open(ARGV[4])
if not target then return redis.error_reply('TARGET') end
local moving = ARGV[9] == '1'
if moving then call('UNLINK', base .. 'none') end  -- takes no memory: also in a full store
local these = groups(box, slices(box, ARGV[8]))
if #these == 0 then
  return {'', '', news(box, ARGV[2], ARGV[3]), news(target, ARGV[5], ARGV[6])}
end

local used, names, count, runs = {}, {}, 0, {}
for _, group in ipairs(these) do
  if not used[group[3]] then
    used[group[3]] = names_of(text_of(box, group[3]))
    for folded, name in pairs(used[group[3]]) do names[folded] = names[folded] or name end
  end
  count = count + group[2] - group[1]
  add_runs(box, group[1], group[2], runs)
end
local new = spell(target, names, tonumber(ARGV[7]))
if not new or target.uid_next + count > 4294967295 then return LIMIT end
local rows, sets, become = rows_of(box, these), {}, {}
admit(target, new)
for set, own in pairs(used) do
  for folded in pairs(own) do own[folded] = names[folded] end
  become[set] = pack('<I4', number_of(target, own))
end
for at, group in ipairs(these) do sets[at] = rep(become[group[3]], group[2] - group[1]) end
if not moving then refer('+', rows) end
local made = add(target, count, concat(sets), rows)
if moving then remove(box, these) end
return {pairs_of(runs), made, news(box, ARGV[2], ARGV[3]), news(target, ARGV[5], ARGV[6])}
