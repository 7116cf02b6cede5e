"""Accounts that are watched for many sessions: one of them may fail, or go, in the middle of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pymap.backend.api import Account
from pymap.backend.dict import DictBackend
from pymap.backend.errors import Unavailable
from pymap.backend.watched import WatchedAccounts


class _Slow:
    """A store whose accounts are entered one step after the other."""

    def __init__(self) -> None:
        self.backend = DictBackend()
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.fails = 0

    @asynccontextmanager
    async def enter(self, user: str) -> AsyncIterator[Account]:
        self.begun.set()
        await self.go.wait()
        if self.fails:
            self.fails -= 1
            raise Unavailable
        async with self.backend.account(user) as account:
            yield account


async def test_who_comes_second_does_not_share_the_failure_of_the_first() -> None:
    store = _Slow()
    watched = WatchedAccounts(store.enter)
    store.fails = 1
    first = asyncio.create_task(watched.listen("user", lambda: None))
    await store.begun.wait()
    heard = asyncio.Event()
    second = asyncio.create_task(watched.listen("user", heard.set))
    await asyncio.sleep(0)
    store.go.set()
    with pytest.raises(Unavailable):
        await first
    await second
    await store.backend.account_of("user").create("new")
    await asyncio.wait_for(heard.wait(), 5)
    await watched.unlisten("user", heard.set)


async def test_the_first_goes_while_the_second_waits() -> None:
    store = _Slow()
    watched = WatchedAccounts(store.enter)
    first = asyncio.create_task(watched.listen("user", lambda: None))
    await store.begun.wait()
    heard = asyncio.Event()
    second = asyncio.create_task(watched.listen("user", heard.set))
    await asyncio.sleep(0)
    first.cancel()
    store.go.set()
    await second
    await watched.unlisten("user", heard.set)
