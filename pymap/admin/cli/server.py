"""Verbs about the server: ping, version, health, who, kick, reload."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

import pymap
from pymap.admin.cli.exits import Exit
from pymap.admin.cli.messages import as_dict
from pymap.admin.output import Column, Output, duration, moment, octets

if TYPE_CHECKING:
    from pymap.admin.cli.connection import Client
    from pymap.admin.cli.options import Verbs

__all__ = ["add_verbs"]

_PING = (
    Column("version", "version"),
    Column("backend", "backend"),
    Column("pid", "pid"),
    Column("started", "started", moment),
    Column("connections", "connections"),
    Column("addresses", "addresses", " ".join),
    Column("ready", "ready", lambda ready: "yes" if ready else "no"),
    Column("trouble", "trouble"),
)
_WHO = (
    Column("id", "id", right=True),
    Column("user", "user"),
    Column("address", "address"),
    Column("tls", "tls"),
    Column("state", "state"),
    Column("mailbox", "mailbox"),
    Column("command", "command"),
    Column("connected", "connected", lambda at: duration(max(0, int(time.time()) - at))),
    Column("idle", "idle_seconds", duration),
    Column("commands", "commands", right=True),
    Column("received", "received", octets, right=True),
    Column("sent", "sent", octets, right=True),
    Column("as", "authenticated_as"),
)


def add_verbs(verbs: Verbs) -> None:
    verbs.add("ping", "ask the server how it is", ping)
    verbs.add("version", "show the versions of this program and of the server", version)
    verbs.add("health", "exit with 0 if the server is ready, with 69 if not", health)
    add = verbs.add("who", "list who is connected", who).add_argument
    add("user", nargs="?", default="", metavar="USER", help="only this one's sessions")
    whom = verbs.add("kick", "end sessions", kick).add_mutually_exclusive_group(required=True)
    whom.add_argument("--id", type=_session, metavar="N", help="this one, by its number in `who`")
    whom.add_argument("--user", metavar="USER", help="all of this user")
    whom.add_argument("--address", metavar="IP", help="all from this address")
    verbs.add("reload", "read certificates, keys, users and logging again; sessions go on", reload)


def _session(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ArgumentTypeError(f"{text!r} is not the number of a session")
    return int(text)


async def ping(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import PingRequest

    found = as_dict(await client.call(client.server.Ping, PingRequest()))
    output.fields(found, _PING if found["trouble"] else _PING[:-1])


async def version(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import PingRequest

    found = await client.call(client.server.Ping, PingRequest())
    output.fields(
        {"client": pymap.__version__, "server": found.version},
        (Column("client", "client"), Column("server", "server")),
    )


async def health(client: Client, args: Namespace, output: Output) -> Exit:
    from pymap.admin.proto.admin_pb2 import PingRequest

    found = await client.call(client.server.Ping, PingRequest())
    if output.as_json:
        output.document({"ready": found.ready, "trouble": found.trouble})
    else:
        output.line("ready" if found.ready else f"not ready: {found.trouble}")
    return Exit.OK if found.ready else Exit.UNAVAILABLE


async def who(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import WhoRequest

    found = await client.call(client.server.Who, WhoRequest(user=args.user))
    output.table([as_dict(session) for session in found.sessions], _WHO)


async def kick(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import KickRequest

    request = KickRequest(id=args.id, user=args.user, address=args.address)
    found = await client.call(client.server.Kick, request)
    output.fields(as_dict(found), (Column("kicked", "kicked"),))


async def reload(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import ReloadRequest

    found = as_dict(await client.call(client.server.Reload, ReloadRequest()))
    output.fields(found, (Column("reloaded", "reloaded", ", ".join),))
