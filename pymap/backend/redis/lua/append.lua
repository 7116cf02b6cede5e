-- append(mailbox, modseq, flag set, limit, then for each message: row, flags, fields, email id)
-- The messages were written before and are pending. Returns {UIDs, news}.
local box = open(ARGV[1])
if not box then return GONE end
local names, count = {}, (#ARGV - 4) / 4
for at = 5, #ARGV, 4 do
  local id = sub(ARGV[at], 17, 28)
  local key = string.format('%smsg:' .. rep('%02x', 12), base, string.byte(id, 1, 12))
  if not call('ZSCORE', base .. 'pending', id) or call('HLEN', key) ~= tonumber(ARGV[at + 2]) then
    return redis.error_reply('LOST')
  end
  for folded, name in pairs(names_of(ARGV[at + 1])) do names[folded] = names[folded] or name end
end
local new = spell(box, names, tonumber(ARGV[4]))
if not new then return LIMIT end
if box.uid_next + count > 4294967295 then return LIMIT end
admit(box, new)
local sets, rows = {}, {}
for at = 5, #ARGV, 4 do
  local own = names_of(ARGV[at + 1])
  for folded in pairs(own) do own[folded] = names[folded] end
  sets[#sets + 1] = pack('<I4', number_of(box, own))
  rows[#rows + 1] = ARGV[at]
  local id = sub(ARGV[at], 17, 28)
  call('ZREM', base .. 'pending', id)
  if ARGV[at + 3] ~= '' then call('HSET', base .. 'emails', id, ARGV[at + 3]) end
end
rows = concat(rows)
local made = add(box, count, concat(sets), rows)
tally(rows, 1)
return {made, news(box, ARGV[2], ARGV[3])}
