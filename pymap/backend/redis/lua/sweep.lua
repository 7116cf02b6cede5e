-- sweep(age in seconds): take one entry from the queue of references, or some messages that were
-- pending for longer. Returns 0 when there was nothing.
--
-- `counts` holds the references of a message beyond the first one. The queue is in the order in
-- which things happened, so a message that is copied and then removed is not taken for unused.
local base, call, sub = KEYS[1], redis.call, string.sub
call('UNLINK', base .. 'none')  -- in a full store above all
local function key_of(id)
  return string.format('%smsg:' .. string.rep('%02x', 12), base, string.byte(id, 1, 12))
end
local piece = call('LPOP', base .. 'refs')
if piece then
  local copied = sub(piece, 1, 1) == '+'
  for at = 2, #piece, 32 do
    local id = sub(piece, at + 16, at + 27)
    if copied then
      call('HINCRBY', base .. 'counts', id, 1)
    else
      local more = tonumber(call('HGET', base .. 'counts', id) or 0)
      if more > 1 then
        call('HSET', base .. 'counts', id, more - 1)
      elseif more == 1 then
        call('HDEL', base .. 'counts', id)
      else
        call('UNLINK', key_of(id))
        call('HDEL', base .. 'emails', id)
      end
    end
  end
  return 1
end
local old = call('ZRANGEBYSCORE', base .. 'pending', '-inf',
  call('TIME')[1] - tonumber(ARGV[1]), 'LIMIT', 0, 100)
for _, id in ipairs(old) do
  call('UNLINK', key_of(id))
  call('ZREM', base .. 'pending', id)
end
return #old > 0 and 1 or 0
