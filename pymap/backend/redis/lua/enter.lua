-- enter(id): INBOX is there, with this id if it was not.
if call('HEXISTS', names, 'INBOX') == 0 then make('INBOX', ARGV[1], '') end
