-- read(number of fields, fields ..., ids of messages in hexadecimal ...): the fields of each.
local base, call = KEYS[1] .. 'msg:', redis.call
local count = tonumber(ARGV[1])
local found = {}
for at = count + 2, #ARGV do
  found[at - count - 1] = call('HMGET', base .. ARGV[at], unpack(ARGV, 2, count + 1))
end
return found
