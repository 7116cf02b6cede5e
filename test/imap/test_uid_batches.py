"""UIDBATCHES over a mailbox that is large enough for some.   RFC 10022"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pymap.backend.api import NewMessage, digest
from pymap.backend.dict import DictBackend
from pymap.imap.server import serve
from pymap.wire.types import InternalDate, UidSet

CONTENT = b"Subject: x\r\n\r\nx\r\n"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, command: str) -> tuple[str, str]:
        """The UIDBATCHES response ("" if there is none), and the tagged one."""
        self.writer.write(f"a {command}\r\n".encode())
        batches = ""
        while not (line := (await self.reader.readline()).decode()).startswith("a "):
            if "UIDBATCHES" in line:
                batches = line.strip().removeprefix('* UIDBATCHES (TAG "a")').strip()
        return batches, line.strip()


@pytest.fixture
async def store() -> DictBackend:
    return DictBackend({"alice": "secret"})


@pytest.fixture
async def client(store: DictBackend) -> AsyncIterator[Client]:
    async with serve(store) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        client = Client(reader, writer)
        await reader.readline()
        await client.ask("LOGIN alice secret")
        yield client
        writer.close()


async def fill(store: DictBackend, count: int, gone: UidSet = UidSet()) -> None:  # noqa: B008
    inbox = await store.account_of("alice").open("INBOX")
    message = NewMessage(CONTENT, frozenset(), InternalDate(0), digest(CONTENT))
    inbox.add([message] * count)
    await inbox.expunge(gone)


async def test_only_in_a_mailbox(client: Client) -> None:
    assert (await client.ask("UIDBATCHES 500"))[1].startswith("a BAD")


async def test_ranges_meet_and_reach_down_to_1(client: Client, store: DictBackend) -> None:
    await fill(store, 1500, UidSet(((1, 10), (700, 899), (1400, 1500))))  # 1189 are left
    await client.ask("SELECT INBOX")
    found, answer = await client.ask("UIDBATCHES 500")
    assert answer.startswith("a OK")
    ranges = [tuple(map(int, each.split(":"))) for each in found.split(",")]
    assert ranges[0][0] == 1399
    assert ranges[-1][1] == 1
    assert [above[1] - 1 for above in ranges[:-1]] == [below[0] for below in ranges[1:]]
    index = (await store.account_of("alice").open("INBOX")).index
    counts = [len(UidSet(((low, high),)).present_in(index.uids)) for high, low in ranges]
    assert counts == [500, 500, 189]


@pytest.mark.parametrize(
    ("count", "command", "expected"),
    [
        (0, "500", ""),
        (1, "500", "1:1"),
        (500, "500", "500:1"),
        (501, "500", "501:2,1:1"),
        (1600, "500", "1600:1101,1100:601,600:101,100:1"),
        (1600, "500 1:1", "1600:1101"),
        (1600, "500 2:3", "1100:601,600:101"),
        (1600, "500 4:9", "100:1"),
        (1600, "500 5:9", ""),
        (1600, "4294967295", "1600:1"),
    ],
)
async def test_batches(
    client: Client, store: DictBackend, count: int, command: str, expected: str
) -> None:
    await fill(store, count)
    await client.ask("SELECT INBOX")
    assert await client.ask(f"UIDBATCHES {command}") == (expected, "a OK UIDBATCHES completed")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("UIDBATCHES", "BAD"),
        ("UIDBATCHES 0", "BAD"),
        ("UIDBATCHES x", "BAD"),
        ("UIDBATCHES 500 3", "BAD"),
        ("UIDBATCHES 500 0:3", "BAD"),
        ("UIDBATCHES 500 1:*", "BAD"),
        ("UID UIDBATCHES 500", "BAD"),
        ("UIDBATCHES 500 3:2", "BAD [CLIENTBUG]"),
        ("UIDBATCHES 499", "NO [TOOFEW]"),
        ("UIDBATCHES 500 1:4294967295", "NO [TOOMANY]"),
    ],
)
async def test_refused(client: Client, store: DictBackend, command: str, answer: str) -> None:
    await fill(store, 3)
    await client.ask("SELECT INBOX")
    found, tagged = await client.ask(command)
    assert found == ""
    assert tagged.startswith(f"a {answer}")


async def test_news_is_told_first_and_what_was_saved_stays(
    client: Client, store: DictBackend
) -> None:
    await fill(store, 3)
    await client.ask("SELECT INBOX")
    await client.ask("UID SEARCH RETURN (SAVE) UID 2")
    await fill(store, 2, UidSet.of(3))
    assert await client.ask("UIDBATCHES 500") == ("5:1", "a OK UIDBATCHES completed")
    client.writer.write(b"a UID FETCH $ UID\r\n")
    assert await client.reader.readline() == b"* 2 FETCH (UID 2)\r\n"
