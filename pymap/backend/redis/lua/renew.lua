-- renew(mailbox, uid_validity): Redis has lost changes that clients have seen, and may give their
-- UIDs to other messages. A new uid_validity tells them to forget all they know.
call('UNLINK', base .. 'none')  -- in a full store, too
local meta = base .. 'box:' .. ARGV[1] .. ':meta'
if call('HGET', meta, 'uid_validity') ~= ARGV[2] then return end
call('HSET', meta, 'uid_validity', new_validity())
call('PUBLISH', base .. 'box:' .. ARGV[1], 'renewed')
