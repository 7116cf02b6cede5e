-- open(name): returns {id, uid_validity}, or nothing.
local id = call('HGET', names, ARGV[1])
if not id then return {} end
return {id, tonumber(call('HGET', base .. 'box:' .. id .. ':meta', 'uid_validity'))}
