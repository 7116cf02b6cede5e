-- expunge(mailbox, modseq, flag set, UIDs, flag or ''): returns {UIDs removed, news}.
call('UNLINK', base .. 'none')  -- so that it works in a full store: the first write decides
local box = open(ARGV[1])
if not box then return GONE end
local doomed = groups(box, slices(box, ARGV[4]))
if ARGV[5] ~= '' then
  local flag, having, those = string.lower(ARGV[5]), {}, {}
  for _, group in ipairs(doomed) do
    local set = group[3]
    if having[set] == nil then having[set] = names_of(text_of(box, set))[flag] ~= nil end
    if having[set] then those[#those + 1] = group end
  end
  doomed = those
end
local gone = ''
if #doomed > 0 then
  refer('-', rows_of(box, doomed))
  gone = remove(box, doomed)
end
return {gone, news(box, ARGV[2], ARGV[3])}
