-- recent(mailbox): claim what is recent; returns {first UID, UID after the last}.
call('UNLINK', base .. 'none')  -- in a full store too: nothing could be selected otherwise
local box = open(ARGV[1])
if not box then return GONE end
if box.recent_from < box.uid_next then call('HSET', box.at .. 'meta', 'recent_from', box.uid_next) end
return {box.recent_from, box.uid_next}
