"""Mail in files, as other programs have it: mbox, Maildir, .eml.

`read` of each module gives the messages of a path, `write` of each makes an export. Neither knows
the service. Blocking: `pymap-admin` does nothing else meanwhile.
"""
