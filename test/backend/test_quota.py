"""Quotas: what is asked of a store, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from remote_store import RemoteAccount, RemoteBackend

from pymap.backend import quota as module
from pymap.backend.api import Account, NewMessage, Properties, Quota, Usage, digest
from pymap.backend.dict import DictBackend
from pymap.backend.errors import Corrupt, OverQuota
from pymap.backend.quota import Quotas
from pymap.wire.types import InternalDate

KEY = "quota/limits"


class Asked(RemoteAccount):
    """Notes what it is asked."""

    def __init__(self, local: RemoteAccount) -> None:
        super().__init__(local.local)
        self.questions: list[object] = []

    async def usage(self, quota: Quota, again: bool = False) -> Usage:
        self.questions.append(again)
        return await super().usage(quota, again)

    async def count_mailboxes(self) -> int:
        self.questions.append("mailboxes")
        return await super().count_mailboxes()


@pytest.fixture
async def account() -> AsyncIterator[Asked]:
    async with RemoteBackend(DictBackend()).account("alice") as account:
        yield Asked(account)


async def add(account: Account, *sizes: int) -> None:
    made = [b"x" * size for size in sizes]
    messages = [NewMessage(m, frozenset(), InternalDate(0), digest(m)) for m in made]
    await (await account.open("INBOX")).append(messages)


async def test_without_limits_nothing_is_asked_nor_looked_at(account: Asked) -> None:
    quotas = Quotas(Quota())
    sizes = iter([5])
    await quotas.check(account, sizes)
    await quotas.check_mailbox(account)
    assert account.questions == []
    assert next(sizes) == 5
    await quotas.set(account, Quota(mailboxes=5))
    account.questions.clear()
    await quotas.check(account, [5])
    assert account.questions == []


async def test_the_properties_are_read_once_in_a_while(
    account: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas, properties = Quotas(Quota()), account.properties
    assert properties is not None
    await quotas.check(account, [5])
    await properties.write({KEY: b"messages=1"})  # by another server
    await quotas.check(account, [5, 5])
    monkeypatch.setattr(module.time, "monotonic", lambda: module.time.time() + 1e9)
    with pytest.raises(OverQuota):
        await quotas.check(account, [5, 5])


async def test_who_would_be_refused_is_looked_up_anew(account: Asked) -> None:
    quotas, properties = Quotas(Quota(octets=10, mailboxes=1)), account.properties
    assert properties is not None
    await add(account, 8)
    with pytest.raises(OverQuota):
        await quotas.check(account, [2, 1])
    assert account.questions == [False, True]
    with pytest.raises(OverQuota):
        await quotas.check_mailbox(account)
    await properties.write({KEY: b"octets=11 mailboxes=2"})  # by another server
    await quotas.check(account, [2, 1])
    await quotas.check_mailbox(account)
    with pytest.raises(OverQuota):
        await quotas.check(account, [2, 2])
    await quotas.check(account, [])  # nothing is added


async def test_what_is_replaced_makes_room(account: Asked) -> None:
    """RFC 8508 3.4"""
    quotas = Quotas(Quota(octets=10, messages=2))
    await add(account, 4, 6)
    await quotas.check(account, [6], [6])
    await quotas.check(account, [5], [6])
    await quotas.check(account, [6, 4], [4, 6])
    for sizes, replaced in (([7], [6]), ([1, 1], [6]), ([5, 7], [6, 4])):
        with pytest.raises(OverQuota):
            await quotas.check(account, sizes, replaced)
    await quotas.set(account, Quota(octets=1, messages=1))
    await quotas.check(account, [6], [6])  # too much already, but not more
    with pytest.raises(OverQuota):
        await quotas.check(account, [1], [])


async def test_what_is_set_holds_at_once_for_every_account_object(account: Asked) -> None:
    quotas, other = Quotas(Quota()), RemoteAccount(account.local)
    await quotas.check(other, [5])
    await quotas.set(account, Quota(messages=0))
    with pytest.raises(OverQuota):
        await quotas.check(other, [5])
    await quotas.set(account, Quota())
    await quotas.check(other, [5])


async def test_a_look_up_that_comes_too_late_is_not_kept(account: Asked) -> None:
    quotas = Quotas(Quota())
    late = asyncio.ensure_future(quotas.of(account))
    await asyncio.sleep(0)  # it reads
    await quotas.set(account, Quota(messages=7))
    await late
    assert (await quotas.of(account)).messages == 7


async def test_what_is_set_stands_in_for_the_default(account: Asked) -> None:
    quotas = Quotas(Quota(10, 20, 30))
    assert await quotas.of(account) == (10, 20, 30)
    for limits in (Quota(octets=1 << 70), Quota(), Quota(0, 0, 0)):
        await quotas.set(account, limits)
        assert await quotas.of(account) == limits
        assert await Quotas(Quota(10, 20, 30)).of(account) == limits


async def test_limits_that_cannot_be_read_are_logged(
    account: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    assert account.properties is not None
    for damaged in (b"octets", b"octets=x", b"octets=-1", b"kilos=5", b"\xff", b"octets=1=2"):
        await account.properties.write({KEY: damaged})
        assert await Quotas(Quota(10)).of(account) == Quota(10)
    assert len(caplog.records) == 6


async def test_mail_comes_in_where_the_properties_are_damaged(account: Asked) -> None:
    class Damaged(Properties):
        async def read(self) -> Mapping[str, bytes]:
            raise Corrupt

        async def write(self, *_: object) -> bool:
            raise Corrupt

    account.properties = Damaged()  # type: ignore[misc]
    quotas = Quotas(Quota(messages=1))
    await quotas.check(account, [5])
    with pytest.raises(OverQuota):
        await quotas.check(account, [5, 5])


async def test_a_store_without_properties_has_the_default(account: Asked) -> None:
    account.properties = None  # type: ignore[assignment]
    quotas = Quotas(Quota(messages=1))
    await quotas.check(account, [5])
    with pytest.raises(OverQuota):
        await quotas.check(account, [5, 5])
