-- delete(name)
local id = call('HGET', names, ARGV[1])
if not id then return redis.error_reply('NOTFOUND') end
call('HDEL', names, ARGV[1])
call('HDEL', base .. 'uses', id)
local box = open(id)
if box then
  local rows = gather(box, 'rows', choose(box, everything(box)))
  refer('-', rows)
  tally(rows, -1)
  for name in pairs(COLUMNS) do call('UNLINK', box.at .. name) end
  call('UNLINK', box.at .. 'flags', box.at .. 'keywords', box.at .. 'log', box.at .. 'meta',
    box.at .. 'properties')
end
call('PUBLISH', base .. 'box:' .. id, 'gone')
tell_names()
