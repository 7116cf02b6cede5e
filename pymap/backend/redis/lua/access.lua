-- access(prefix, name...): for each name the properties of its mailbox that begin so, keys and
-- values, flat; false if there is no such mailbox.
local base, call, sub = KEYS[1], redis.call, string.sub
local prefix, found = ARGV[1], {}
for i = 2, #ARGV do
  local id = call('HGET', base .. 'mailboxes', ARGV[i])
  local entries = false
  if id then
    entries = {}
    local all = call('HGETALL', base .. 'box:' .. id .. ':properties')
    for j = 1, #all, 2 do
      if sub(all[j], 1, #prefix) == prefix then
        entries[#entries + 1] = all[j]
        entries[#entries + 1] = all[j + 1]
      end
    end
  end
  found[i - 1] = entries
end
return found
