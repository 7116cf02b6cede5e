-- What the scripts of an account share.
local names = base .. 'mailboxes'

-- A uid_validity above all that were given before.
local function new_validity()
  local last = tonumber(call('HGET', base .. 'account', 'uid_validity') or 0)
  local validity = math.max(now(), last + 1)
  call('HSET', base .. 'account', 'uid_validity', validity)
  return validity
end

-- Tell who listens that names have changed: see `RedisAccount.wait`.
local function tell_names()
  call('PUBLISH', base .. 'names', '')
end

-- A mailbox of that id comes to be; returns its uid_validity.
local function make(name, id, uses)
  local validity = new_validity()
  call('HSET', base .. 'box:' .. id .. ':meta', 'uid_validity', validity, 'modseq', 1,
    'uid_next', 1, 'recent_from', 1, 'floor', 1, 'cost', 0, 'next_set', 1, 'dead', 0, 'stamp', 0)
  call('HSET', names, name, id)
  if uses ~= '' then call('HSET', base .. 'uses', id, uses) end
  tell_names()
  return validity
end
