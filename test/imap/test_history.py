"""When the log of expunges no longer reaches back: QRESYNC finds out by comparing.

RFC 7162 3.2.5, 3.2.6
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pymap.backend.dict import DictBackend
from pymap.backend.index import ChangeLog, NewRow
from pymap.imap.server import serve
from pymap.wire.types import SEEN, FlagOp, InternalDate, UidSet

VALIDITY = 7


@pytest.fixture
async def session() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client with QRESYNC enabled; INBOX had 1:10, has 1,2,5,6,9,10, and has forgotten when the
    others went."""
    backend = DictBackend({"u": "p"})
    mailbox = await backend.account_of("u").open("INBOX")
    mailbox.uid_validity = VALIDITY
    index = mailbox.index
    index.append([NewRow(frozenset(), 1, InternalDate(0), None, "M1")] * 10)
    index.expunge(UidSet.parse("3:4,7:8"))
    index.vanished_log = ChangeLog(index.modseq)
    index.store(UidSet.of(9), FlagOp.ADD, frozenset((SEEN,)), None)
    async with serve(backend) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(b"a LOGIN u p\r\nb ENABLE QRESYNC\r\n")
        await reader.readuntil(b"\r\nb OK")
        yield reader, writer
        writer.close()
        await writer.wait_closed()


async def ask(
    session: tuple[asyncio.StreamReader, asyncio.StreamWriter], command: bytes
) -> list[bytes]:
    reader, writer = session
    writer.write(b"c " + command + b"\r\n")
    lines = []
    async with asyncio.timeout(10):
        while not lines or not lines[-1].startswith(b"c "):
            lines.append((await reader.readline()).rstrip())
    assert lines[-1].startswith(b"c OK"), lines
    return [line for line in lines[:-1] if b"VANISHED" in line or b" FETCH " in line]


@pytest.mark.parametrize(
    ("known", "vanished"),
    [
        (b"", b"3:4,7:8"),
        (b" 1:5", b"3:4"),
        # The client's third message was UID 3: from there on its numbers no longer hold.
        (b" 1:10 (1:3 1:3)", b"3:4,7:8"),
        # Its fourth message is UID 6, so it knows already that 3 and 4 went.
        (b" 1:10 (1,4 1,6)", b"7:8"),
        (b" (6 10)", None),
        (b" (60 10)", b"3:4,7:8"),
    ],
)
async def test_select_tells_what_is_not_there(
    session: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    known: bytes,
    vanished: bytes | None,
) -> None:
    told = await ask(session, b"SELECT INBOX (QRESYNC (%d 2%b))" % (VALIDITY, known))
    expected = [] if vanished is None else [b"* VANISHED (EARLIER) " + vanished]
    if known != b" 1:5":
        expected.append(b"* 5 FETCH (UID 9 FLAGS (\\Seen \\Recent) MODSEQ (4))")
    assert told == expected


async def test_another_uid_validity_is_another_mailbox(
    session: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    assert await ask(session, b"SELECT INBOX (QRESYNC (%d 2 1:10))" % (VALIDITY - 1)) == []


async def test_fetch_vanished_tells_what_is_not_there(
    session: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    await ask(session, b"SELECT INBOX")
    told = await ask(session, b"UID FETCH 2:7 (FLAGS) (CHANGEDSINCE 2 VANISHED)")
    assert told == [b"* VANISHED (EARLIER) 3:4,7"]
