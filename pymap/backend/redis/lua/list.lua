-- list(): {names and ids of mailboxes, ids and special uses}, each flat.
return {call('HGETALL', base .. 'mailboxes'), call('HGETALL', base .. 'uses')}
