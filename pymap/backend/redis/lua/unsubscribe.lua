-- unsubscribe(name)
if call('SREM', base .. 'subscribed', ARGV[1]) == 1 then call('PUBLISH', base .. 'names', '') end
