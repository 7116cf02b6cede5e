"""The admin service: mail, users and sessions of a running server, over gRPC on a socket.

`service` is what the server starts, `cli` the command ``pymap-admin``; between them stands
`proto/admin.proto`. Nothing is imported here, for the command starts often.
"""
