"""The maildir backend as people run it: `python -m pymap maildir`, over sockets, beside Dovecot."""
