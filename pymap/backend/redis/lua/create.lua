-- create(name, id, special uses, limit): returns the uid_validity.
if call('HEXISTS', names, ARGV[1]) == 1 then return redis.error_reply('EXISTS') end
if call('HLEN', names) >= tonumber(ARGV[4]) then return LIMIT end
return make(ARGV[1], ARGV[2], ARGV[3])
