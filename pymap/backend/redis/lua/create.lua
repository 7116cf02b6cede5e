-- create(name, id, special uses, limit): returns the uid_validity.
-- INBOX is always there, unless Redis has forgotten the user while he was logged in.
if call('HEXISTS', names, 'INBOX') == 0 then return redis.error_reply('GONE') end
if call('HEXISTS', names, ARGV[1]) == 1 then return redis.error_reply('EXISTS') end
if call('HLEN', names) >= tonumber(ARGV[4]) then return LIMIT end
return make(ARGV[1], ARGV[2], ARGV[3])
