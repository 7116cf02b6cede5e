"""A store that knows more of a search than the engine: what comes out is the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from remote_store import RemoteAccount, RemoteBackend, RemoteMailbox

from pymap.backend.api import Mailbox, Narrowed
from pymap.backend.conformance import BackendConformance
from pymap.backend.dict import DictBackend
from pymap.imap.server import serve
from pymap.imap.text import casemap, header_contains
from pymap.wire.search import Header, InBody, SearchKey, Text
from pymap.wire.types import UidSet


class IndexedMailbox(RemoteMailbox):
    """It looks where a real one would have an index: of subjects it knows everything, of the rest
    which messages cannot hold a text, for nothing in them is encoded. `opened` are the messages
    that the engine has asked for."""

    opened: list[int] = []  # noqa: RUF012  of all of them

    async def contents(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        self.opened += uids
        return await super().contents(uids)

    async def headers(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        self.opened += uids
        return await super().headers(uids)

    async def search(self, key: SearchKey, uids: UidSet) -> Narrowed | None:
        there = uids.present_in(self.local.index.uids)
        contents = {uid: await self.local.content(uid) for uid in there}
        match key:
            case Header(name, text) if name.upper() == "SUBJECT":
                headers = {
                    uid: octets.partition(b"\r\n\r\n")[0] for uid, octets in contents.items()
                }
                needle = casemap(text)
                found = [uid for uid in there if header_contains(headers[uid], name, needle)]
                return Narrowed(UidSet.from_sorted(found), exact=True)
            case InBody(text) | Text(text) if text.isascii():
                raw = text.upper().encode()
                found = [
                    uid
                    for uid, octets in contents.items()
                    if raw in octets.upper() or b"base64" in octets or b"=?" in octets
                ]
                return Narrowed(UidSet.from_sorted(found))
        return None


class IndexedAccount(RemoteAccount):
    async def open(self, name: str) -> Mailbox:
        return IndexedMailbox(await self.local.open(name))


class IndexedBackend(RemoteBackend):
    @asynccontextmanager
    async def account(self, user: str) -> AsyncIterator[IndexedAccount]:
        yield IndexedAccount(self.local.account_of(user))


class TestIndexed(BackendConformance):
    @pytest.fixture
    async def backend(self) -> IndexedBackend:
        return IndexedBackend(DictBackend({"alice": "secret"}))


MESSAGES = (
    b"Subject: tea party\r\n\r\nx",
    b"Subject: dinner\r\n\r\nthe party",
    b"Subject: =?utf-8?q?p=61rty?=\r\n\r\nx",
    b"Subject: z\r\nTo: party@example.com\r\n\r\nx",
)

SEARCHES = [
    # (key, what is found, messages that were opened)
    (b"SUBJECT party", [1, 3], []),
    (b"NOT SUBJECT party", [2, 4], []),
    (b"OR SUBJECT dinner SUBJECT z", [2, 4], []),
    (b"BODY party", [2], [1, 2, 3, 4]),  # not exact: 3 is encoded, 1 and 4 have it elsewhere
    (b"SUBJECT party TEXT x", [1, 3], [1, 3]),
    (b"NOT BODY dinner", [1, 2, 3, 4], [2, 3]),
    (b"TO party", [4], [1, 2, 3, 4]),
    (b"FUZZY SUBJECT praty", [1, 3], [1, 2, 3, 4]),
    (b"UID 1:3 SUBJECT party", [1, 3], []),
]


@pytest.mark.parametrize("indexed", [True, False])
async def test_searches(indexed: bool) -> None:
    local = DictBackend({"alice": "secret"})
    async with serve(IndexedBackend(local) if indexed else local) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(b"a LOGIN alice secret\r\n")
        for content in MESSAGES:
            writer.write(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(content), content))
        writer.write(b"s SELECT INBOX\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b"\r\ns OK")
            await reader.readline()
            for key, found, opened in SEARCHES:
                IndexedMailbox.opened.clear()
                writer.write(b"f UID SEARCH %b\r\n" % key)
                line = await reader.readline()
                assert line.split()[2:] == [b"%d" % uid for uid in found], key
                assert (await reader.readline()).startswith(b"f OK")
                if indexed:
                    assert sorted(set(IndexedMailbox.opened)) == opened, key
        writer.close()
        await writer.wait_closed()
