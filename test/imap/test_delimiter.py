"""A store may have its clients see another delimiter: here a dot, as Dovecot over Maildir++ does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pymap.backend.dict import DictBackend
from pymap.imap.server import serve
from pymap.wire.types import swap_delimiter


@pytest.fixture
async def lines() -> AsyncIterator[list[bytes]]:
    """Answers to a session that makes, shows and uses mailboxes; ends with the tagged ones."""
    backend = DictBackend({"demouser": "demopass"})
    backend.delimiter = "."
    async with serve(backend) as server:
        yield await _talk(server.addresses[0])
    names = {info.name for info in await backend.account_of("demouser").mailboxes()}
    assert names == {"INBOX", "Work", "Work/2024", "a.b", "INBOX/sub", "Up/2024"}


SESSION = [
    b"LOGIN demouser demopass",
    b'LIST "" ""',
    b"NAMESPACE",
    b"CREATE Work.2024.",
    b"CREATE a/b",
    b"CREATE inbox.sub",
    b"CREATE Work",
    b"CREATE Old.2024",
    b"RENAME Old Up",
    b'LIST "" *',
    b'LIST "" Work.%',
    b'LIST "Work." %',
    b"SUBSCRIBE Work.2024",
    b'LSUB "" *',
    b'LSUB "" %',
    b"STATUS Work.2024 (MESSAGES)",
    b'LIST "" a/b RETURN (STATUS (MESSAGES))',
    b"ENABLE IMAP4rev2",
    b"SELECT Work.2024",
    b"CREATE A..b",
    b"LOGOUT",
]


async def _talk(address: tuple[str, int]) -> list[bytes]:
    reader, writer = await asyncio.open_connection(*address)
    for n, line in enumerate(SESSION):
        writer.write(b"t%d %b\r\n" % (n, line))
    async with asyncio.timeout(10):
        heard = await reader.read()
        while not reader.at_eof():
            heard += await reader.read()
    writer.close()
    await writer.wait_closed()
    return heard.split(b"\r\n")


async def test_names_have_the_delimiter_on_the_wire_alone(lines: list[bytes]) -> None:
    for shown in (
        b'* LIST (\\Noselect) "." ""',
        b'* NAMESPACE (("" ".")) (("Other Users." ".")) NIL',
        b'* LIST (\\HasChildren) "." Work',
        b'* LIST (\\HasNoChildren) "." Work.2024',
        b'* LIST (\\HasNoChildren) "." a/b',
        b'* LIST (\\HasNoChildren) "." INBOX.sub',
        b'* LIST (\\HasNoChildren) "." Up.2024',
        b'* LSUB () "." Work.2024',
        b'* LSUB (\\Noselect) "." Work',
        b"* STATUS Work.2024 (MESSAGES 0)",
        b"* STATUS a/b (MESSAGES 0)",
    ):
        assert shown in lines, shown
    assert lines.count(b'* LIST (\\HasNoChildren) "." Work.2024') == 3
    # What SELECT tells of unasked.   RFC 9051 6.3.2
    assert b'* LIST (\\Subscribed \\HasNoChildren) "." Work.2024' in lines
    failed = [line for line in lines if line[:1] == b"t" and b" OK " not in line]
    assert [line.split(b" ")[0] for line in failed] == [b"t19"]


@pytest.mark.parametrize("delimiter", ["/", ".", "\\", "^"])
@pytest.mark.parametrize("name", ["INBOX", "a/b.c", "./..//", "", "\\/^"])
def test_swapping_twice_is_nothing(name: str, delimiter: str) -> None:
    assert swap_delimiter(swap_delimiter(name, delimiter), delimiter) == name
