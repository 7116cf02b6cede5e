-- set_properties(mailbox or "", new stamp, count, then as many times: key, "=" and value, or "" for
-- none, that are expected; and the same for what is to be). Returns whether it was as expected.
local base, call, sub = KEYS[1], redis.call, string.sub
local at = base
if ARGV[1] ~= '' then
  at = base .. 'box:' .. ARGV[1] .. ':'
  if call('EXISTS', at .. 'meta') == 0 then return redis.error_reply('GONE') end
end
local key, first = at .. 'properties', 4 + 2 * ARGV[3]
for i = 4, first - 1, 2 do
  local value = call('HGET', key, ARGV[i])
  if (value and '=' .. value or '') ~= ARGV[i + 1] then return 0 end
end
-- What a full store refuses comes first, so that all of it is refused.
for i = first, #ARGV, 2 do
  if ARGV[i + 1] ~= '' then call('HSET', key, ARGV[i], sub(ARGV[i + 1], 2)) end
end
for i = first, #ARGV, 2 do
  if ARGV[i + 1] == '' then call('HDEL', key, ARGV[i]) end
end
if call('HLEN', key) == call('HEXISTS', key, '\0stamp') then
  call('UNLINK', key)
else
  call('HSET', key, '\0stamp', ARGV[2])
end
return 1
