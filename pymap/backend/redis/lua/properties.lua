-- properties(mailbox or "", stamp): {stamp}, and if it is not the one that is known, all keys and
-- values, flat. The stamp is a field that no key can be called.
local base, call = KEYS[1], redis.call
local at = base
if ARGV[1] ~= '' then
  at = base .. 'box:' .. ARGV[1] .. ':'
  if call('EXISTS', at .. 'meta') == 0 then return redis.error_reply('GONE') end
end
local stamp = call('HGET', at .. 'properties', '\0stamp') or ''
if stamp == ARGV[2] then return {stamp} end
return {stamp, call('HGETALL', at .. 'properties')}
