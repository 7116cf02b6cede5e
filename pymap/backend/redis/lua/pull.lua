-- pull(mailbox, modseq, flag set): what happened since.
local box = open(ARGV[1])
if not box then return GONE end
return news(box, ARGV[2], ARGV[3])
