"""Mail as a list, to be written and read again."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from pymap.admin.formats.content import Message
from pymap.admin.formats.export import Mailbox, Tree
from pymap.wire.types import InternalDate

# Octets that mean something to one format or the other.
PARTS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b"", b" ", b">", b"text", b"\xff\xfe", "ä".encode(),
    b"From ", b"\r\nFrom ", b"\n>From ", b"\r\n>>From me", b"Subject: x\r\n", b"\r\n\t folded",
    b"From a@b Tue Nov 24 14:00:00 2026\r\n", b"\nFrom a@b Tue Nov 24 14:00:00 2026\n",
    b"From nobody Tue, 24 Nov 2026 14:00:00 +0100", b"Status: RO\r\n", b"X-Status: A\n",
    b"X-UID: 7\r\n", b"X-Keywords: a b\r\n", b"X-IMAP: 1 2\r\n", b"Return-Path: <me@x>\r\n",
    b"X-Pymap: octets=3; lines=crlf; date=1-Jan-2020 00:00:00 +0000\r\n", b"Content-Length: 1\n",
]  # fmt: skip
KEYWORDS = ["$Forwarded", "Junk", "NonJunk", "to-do", "a/b", "x'y"]
SYSTEM = ["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"]


class Given(NamedTuple):
    uid: int
    flags: frozenset[str]
    date: InternalDate
    content: bytes


def contents(least: int = 0) -> st.SearchStrategy[bytes]:
    part = st.sampled_from(PARTS) | st.binary(max_size=8)
    joined = st.lists(part, min_size=least, max_size=12).map(b"".join)
    return joined.filter(lambda content: len(content) >= least)


def dates() -> st.SearchStrategy[InternalDate]:
    # Years of two digits would be written with four, and read so; files know no year 1.
    seconds = st.integers(min_value=0, max_value=4_000_000_000)
    return st.builds(InternalDate, seconds, st.integers(-14 * 60, 14 * 60))


@st.composite
def mailbox(draw: st.DrawFn) -> list[Given]:
    flags = st.frozensets(st.sampled_from(SYSTEM + KEYWORDS), max_size=6)
    uids = sorted(draw(st.sets(st.integers(1, 0xFFFFFFFE), max_size=5)))
    return [Given(uid, draw(flags), draw(dates()), draw(contents())) for uid in uids]


def write(tree: Tree, mailboxes: Mapping[str, Sequence[Given]], uid_validity: int = 7) -> None:
    for name, messages in mailboxes.items():
        uid_next = messages[-1].uid + 1 if messages else 1
        tree.begin(Mailbox(name, uid_validity, uid_next))
        for given in messages:
            tree.add(given.uid, sorted(given.flags), given.date, io.BytesIO(given.content))
        tree.end()
    tree.finish()
    tree.close()


class Read(NamedTuple):
    mailbox: str
    flags: frozenset[str]
    date: InternalDate | None
    content: bytes


def taken(messages: Iterator[Message]) -> list[Read]:
    """All of an import. Each has as many octets as it says."""
    found = []
    for message in messages:
        content = b"".join(message.pieces)
        assert len(content) == message.size
        found.append(
            Read(message.mailbox, frozenset(message.flags), message.internal_date, content)
        )
    return found


def files(root: Path) -> dict[str, bytes]:
    """Everything below."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
