"""``check``: whether what the store says of its messages is so."""

from __future__ import annotations

from argparse import Namespace
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pymap.admin.cli.exits import Exit
from pymap.admin.cli.messages import as_dict
from pymap.admin.output import Column, Output, count, octets, progress

if TYPE_CHECKING:
    from pymap.admin.cli.connection import Client
    from pymap.admin.cli.options import Verbs

__all__ = ["add_verbs"]

_FINDING = (
    Column("user", "user"),
    Column("mailbox", "mailbox"),
    Column("uid", "uid", lambda uid: str(uid or ""), right=True),
    Column("finding", "text"),
)


def add_verbs(verbs: Verbs) -> None:
    verb = verbs.add(
        "check", "read all mail and compare it with what the store says of it", check,
        usual_timeout=600.0,
    )  # fmt: skip
    verb.epilog = "Exits with 0 if all is well, with 65 if something was found."
    verb.add_argument("user", nargs="?", default="", metavar="USER", help="whose (default: all)")
    verb.add_argument(
        "--mailbox", action="append", default=[], metavar="NAME",
        help="only this one; may be repeated",
    )  # fmt: skip


async def check(client: Client, args: Namespace, output: Output) -> Exit:
    from pymap.admin.proto.admin_pb2 import CheckRequest, Progress

    findings: list[dict[str, Any]] = []
    so_far = Progress()
    request = CheckRequest(user=args.user, mailboxes=args.mailbox)
    with progress("check") as show:
        async with aclosing(client.receive(client.mailboxes.Check, request)) as replies:
            async for reply in replies:
                if reply.WhichOneof("what") == "finding":
                    findings.append(as_dict(reply.finding))
                else:
                    so_far = reply.progress
                found = f", {count(len(findings), 'finding')}" if findings else ""
                show(f"{_summary(so_far)}{found}", None)
    if output.as_json:
        output.document({"findings": findings, "progress": as_dict(so_far)})
    elif findings:
        output.table(findings, _FINDING)
    else:
        output.line(f"all is well: {_summary(so_far)}")
    return Exit.DATA if findings else Exit.OK


def _summary(so_far: Any) -> str:
    return ", ".join(
        (
            count(so_far.users, "user"),
            f"{so_far.mailboxes:,} mailbox{'' if so_far.mailboxes == 1 else 'es'}",
            count(so_far.messages, "message"),
            octets(so_far.octets),
        )
    )
