-- load(mailbox, UID, count): the columns of up to `count` messages above a UID; at the beginning
-- the flag sets and the expunges of the log as well.
local box = open(ARGV[1])
if not box then return GONE end
local after, count = tonumber(ARGV[2]), tonumber(ARGV[3])
uids(box)
local start = seek(box, after + 1, 0)
local stop = math.min(start + count, box.count)
local columns = {}
for at, name in ipairs(ORDER) do columns[at] = column(box, name, start, stop) end
local gone = {}
if after == 0 then
  for _, entry in ipairs(call('XRANGE', box.at .. 'log', '-', '+')) do
    if entry[2][5] == 'v' then
      gone[#gone + 1] = entry[1]
      gone[#gone + 1] = entry[2][6]
    end
  end
end
return {
  box.modseq, box.uid_next, box.recent_from, box.floor, box.next_set - 1,
  stop < box.count and 1 or 0, columns, texts_since(box, 0), gone, box.stamp,
}
