-- subscribe(name, limit)
if call('HEXISTS', base .. 'mailboxes', 'INBOX') == 0 then return redis.error_reply('GONE') end
local key = base .. 'subscribed'
if call('SISMEMBER', key, ARGV[1]) == 0 then
  if call('SCARD', key) >= tonumber(ARGV[2]) then return LIMIT end
  call('SADD', key, ARGV[1])
  call('PUBLISH', base .. 'names', '')
end
