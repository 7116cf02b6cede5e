-- rename(name, new name), with all inferiors
local all, below = call('HGETALL', names), ARGV[1] .. '/'
local moved, taken = {}, {}
for at = 1, #all, 2 do
  local name = all[at]
  if name == ARGV[1] or sub(name, 1, #below) == below then
    moved[#moved + 1] = {name, ARGV[2] .. sub(name, #ARGV[1] + 1), all[at + 1]}
  else
    taken[name] = true
  end
end
if #moved == 0 then return redis.error_reply('NOTFOUND') end
for _, move in ipairs(moved) do
  if taken[move[2]] then return redis.error_reply('EXISTS') end
end
for _, move in ipairs(moved) do call('HDEL', names, move[1]) end
for _, move in ipairs(moved) do call('HSET', names, move[2], move[3]) end
tell_names()
