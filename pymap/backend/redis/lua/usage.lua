-- usage(): {octets, messages} of the account. Counted when it is first asked for; from then on whatever
-- adds or removes messages keeps it current.
local held = call('HMGET', base .. 'account', 'octets', 'messages')
if held[1] then return {tonumber(held[1]), tonumber(held[2])} end
local octets, messages = 0, 0
for _, id in ipairs(call('HVALS', base .. 'mailboxes')) do
  local box = open(id)
  if box then
    local rows = gather(box, 'rows', choose(box, everything(box)))
    octets, messages = octets + octets_of(rows), messages + #rows / COLUMNS.rows
  end
end
call('HSET', base .. 'account', 'octets', octets, 'messages', messages)
return {octets, messages}
