"""SAVEDATE on all ways into a mailbox: RFC 8514 3. (Redis has one script for all of them, which asks
its own clock.)"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from maildir_store import maildir_of
from remote_store import RemoteBackend

from pymap.backend.api import Account, Quota
from pymap.backend.conformance import new_message
from pymap.backend.dict import DictBackend
from pymap.backend.dict.mailbox import StoredMessage
from pymap.backend.index import NewRow
from pymap.backend.quota import Quotas
from pymap.imap.mailboxes import rename_mailbox
from pymap.imap.server import serve
from pymap.limits import Limits
from pymap.wire.types import InternalDate, UidSet

ALL = UidSet(((1, 0xFFFFFFFF),))
NOW = 2_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return float(self.now)

    def time_ns(self) -> int:
        return self.now * 10**9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(time, "time_ns", clock.time_ns)
    return clock


@pytest.fixture(params=["dict", "remote", "maildir"])
async def account(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Account]:
    local = DictBackend({"demouser": "demopass"})
    backend = {
        "dict": lambda: local,
        "remote": lambda: RemoteBackend(local),
        "maildir": lambda: maildir_of(local, tmp_path),
    }[request.param]()
    await backend.start()
    async with backend.account("demouser") as account:
        yield account
    await backend.stop()


async def save_dates(account: Account, name: str) -> list[int | None]:
    """In seconds after NOW."""
    rows = await (await account.open(name)).metadata(ALL)
    return [None if row.save_date is None else row.save_date - NOW for row in rows]


async def test_when_it_came_into_its_mailbox(account: Account, clock: Clock) -> None:
    inbox = await account.open("INBOX")
    one, other = await account.create("one"), await account.create("other")
    await inbox.append([new_message(date=InternalDate(1_000_000_000))])
    clock.now += 100
    await inbox.append([new_message(date=InternalDate(1_000_000_001))])
    assert await save_dates(account, "INBOX") == [0, 100]
    clock.now += 100
    await inbox.copy(ALL, one)
    assert await save_dates(account, "one") == [200, 200]
    assert await save_dates(account, "INBOX") == [0, 100]  # "remains unaffected"
    clock.now += 100
    await one.move(ALL, other)
    assert await save_dates(account, "other") == [300, 300]
    clock.now += 100
    await other.move(ALL, other)
    assert await save_dates(account, "other") == [400, 400]
    clock.now += 100
    await rename_mailbox(account, Quotas(Quota()), Limits(), "other", "another")
    assert await save_dates(account, "another") == [400, 400]  # the same mailbox
    await rename_mailbox(account, Quotas(Quota()), Limits(), "INBOX", "new")
    assert await save_dates(account, "new") == [500, 500]  # its messages move


async def test_a_store_without_save_dates() -> None:
    """SAVEDBEFORE and the like "MUST use the internal date attribute instead".   4.3"""
    backend = DictBackend({"demouser": "demopass"})
    inbox = backend.account_of("demouser")._mailboxes["INBOX"]
    message = new_message()
    stored = StoredMessage(message.content, message.digest)
    days = [(10, 0), (10, 60), (12, 0)]
    for at, (day, zone) in enumerate(days):  # half an hour before its end, in UTC
        date = InternalDate(day * 86400 - 1800, zone)
        with inbox._adding([stored]) as index:
            index.append([NewRow(frozenset(), len(message.content), date, None, f"M{at}")])
    async with serve(backend) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(
            b"a LOGIN demouser demopass\r\nb SELECT INBOX\r\nc FETCH 1 SAVEDATE\r\n"
            b"d SEARCH SAVEDATESUPPORTED\r\ne SEARCH SAVEDON 10-Jan-1970\r\n"
            b"f SEARCH SAVEDBEFORE 11-Jan-1970\r\ng SEARCH SAVEDSINCE 11-Jan-1970\r\nh LOGOUT\r\n"
        )
        lines = (await reader.read()).splitlines()
        writer.close()
        await writer.wait_closed()
    assert b"* 1 FETCH (SAVEDATE NIL)" in lines
    found = [line for line in lines if line.startswith(b"* SEARCH")]
    assert found == [b"* SEARCH", b"* SEARCH 1", b"* SEARCH 1", b"* SEARCH 2 3"]
