"""``append``: one message into a mailbox, as a mail system delivers it."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pymap.admin.cli.exits import Exit, Failure
from pymap.admin.cli.messages import as_dict
from pymap.admin.output import Column, Output, OutputGone, complain

if TYPE_CHECKING:
    from pymap.admin.cli.connection import Client
    from pymap.admin.cli.options import Verbs

__all__ = ["add_verbs"]

PIECE = 64 * 1024
_SECONDS = re.compile(r"-?\d{1,12}(\.\d*)?", re.ASCII)
_FLAGS = ("seen", "flagged", "draft", "deleted", "answered")


def add_verbs(verbs: Verbs) -> None:
    verb = verbs.add("append", "add a message to a mailbox", append, delivers=True)
    add = verb.add_argument
    add("user", metavar="USER")
    add("--mailbox", default="INBOX", metavar="NAME", help="where to (default: INBOX)")
    add("--from", dest="sender", metavar="SENDER", help="of the envelope: becomes Return-Path")
    add("--to", dest="recipient", metavar="RECIPIENT", help="becomes Delivered-To")
    add(
        "--timestamp",
        type=_internal_date,
        metavar="T",
        help="when it came: seconds since 1970, ISO 8601 or RFC 2822 (default: now)",
    )
    add("--data", type=Path, metavar="FILE", help="the message (default: standard input)")
    add(
        "--flag", dest="flags", action="append", default=[], metavar="F",
        help="a keyword, or \\Seen and the like; may be repeated",
    )  # fmt: skip
    for name in _FLAGS:
        flag = f"\\{name.capitalize()}"
        add(f"--{name}", dest="flags", action="append_const", const=flag, help=f"the flag {flag}")


async def append(client: Client, args: Namespace, output: Output) -> None:
    """Line ends, and a line "From " in front, are the server's business."""
    from pymap.admin.cli.aside import aside
    from pymap.admin.proto.admin_pb2 import AppendHead, AppendRequest

    head = AppendHead(
        user=args.user, mailbox=args.mailbox, flags=args.flags, internal_date=args.timestamp,
        sender=args.sender, recipient=args.recipient,
    )  # fmt: skip
    async with aside(_pieces(args.data)) as pieces:
        piece = await anext(pieces, b"")
        if not piece:
            raise Failure(Exit.NO_INPUT, "there is no message: the input is empty")
        async with client.open(client.mailboxes.Append) as call:
            await call.send(AppendRequest(head=head))
            while piece:
                await call.send(AppendRequest(content=piece))
                piece = await anext(pieces, b"")
            await call.end()
            reply = as_dict(await call.only())
    try:
        output.fields(reply, (Column("validity", "uid_validity"), Column("uid", "uid")))
    except (OutputGone, OSError):
        # Anything but success would have a mail system bring it again.
        complain("the message is in its mailbox, but its UID could not be printed")


def _pieces(path: Path | None) -> Iterator[bytes]:
    """Of a file, or of standard input."""
    try:
        if path is None or str(path) == "-":
            file = open(0, "rb", closefd=False)  # noqa: SIM115  below, with the other
        else:
            file = path.open("rb")
    except OSError as error:
        raise Failure(Exit.NO_INPUT, f"{path}: {error.strerror}") from error
    with file:
        while piece := file.read(PIECE):
            yield piece


def _internal_date(text: str) -> str:
    """Any of the forms of --timestamp as the service wants it. Without a zone it is of this place,
    seconds are of UTC."""
    from datetime import UTC, datetime, timedelta
    from email.utils import parsedate_to_datetime

    from pymap.admin.formats.dates import date_text
    from pymap.wire.types import InternalDate

    try:
        if _SECONDS.fullmatch(text):
            found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(text))
        else:
            try:
                found = datetime.fromisoformat(text)
            except ValueError:
                found = parsedate_to_datetime(text)
            found = found.astimezone()
    except (ValueError, OverflowError, TypeError, IndexError):
        why = f"{text!r} is no time: seconds since 1970, ISO 8601 or RFC 2822"
        raise ArgumentTypeError(why) from None
    offset = found.utcoffset() or timedelta()
    return date_text(InternalDate(int(found.timestamp() // 1), int(offset.total_seconds()) // 60))
