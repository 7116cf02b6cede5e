-- expunge(mailbox, known, flag set, UIDs, flag or ''): returns {UIDs removed, news}.
call('UNLINK', base .. 'none')  -- so that it works in a full store: the first write decides
local box = open(ARGV[1])
if not box then return GONE end
local keep = nil
if ARGV[5] ~= '' then
  local flag = string.lower(ARGV[5])
  keep = setmetatable({[DEAD] = false}, {__index = function(keep, set)
    keep[set] = names_of(text_of(box, set))[flag] ~= nil
    return rawget(keep, set)
  end})
end
local gone, doomed = '', choose(box, slices(box, ARGV[4]), keep)
if #doomed > 0 then
  local rows = gather(box, 'rows', doomed)
  refer('-', rows)
  tally(rows, -1)
  gone = remove(box, doomed)
end
return {gone, news(box, ARGV[2], ARGV[3])}
