"""What an account tells of its names: part of `backend.conformance`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pymap.backend.api import Account, Backend
from pymap.backend.watched import WatchedAccounts

__all__ = ["NamesConformance"]

PATIENCE_S = 10.0

Change = Callable[[Account], Awaitable[object]]

CHANGES: dict[str, Change] = {
    "create": lambda account: account.create("New"),
    "delete": lambda account: account.delete("Old"),
    "rename": lambda account: account.rename("Old", "Older"),
    "a level": lambda account: account.create("New/Level/Name"),
    "below": lambda account: account.create("Old/Name"),
    "subscribe": lambda account: account.subscribe("Else"),
    "unsubscribe": lambda account: account.unsubscribe("Old"),
}


class NamesConformance:
    """Wake up, then pull: rule 5, for the names of an account."""

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    async def test_an_account_wakes(
        self, backend: Backend, account: Account, change: Change
    ) -> None:
        await account.create("Old")
        await account.subscribe("Old")
        async with backend.account("alice") as again:
            known = await again.listing()
            waiting = asyncio.create_task(self._until_other(again, known))
            await asyncio.sleep(0.01)
            await change(account)
            async with asyncio.timeout(PATIENCE_S):
                await waiting

    @staticmethod
    async def _until_other(account: Account, known: object) -> None:
        while (listing := await account.listing()) == known:
            await account.wait(listing)

    async def test_what_was_missed_wakes(self, backend: Backend, account: Account) -> None:
        """Changes come before the wait as well: none is lost between `listing` and `wait`."""
        async with backend.account("alice") as again:
            known = await again.listing()
            await account.create("New")
            async with asyncio.timeout(PATIENCE_S):
                await again.wait(known)

    async def test_a_listing_tells_all_names(self, account: Account) -> None:
        await account.create("A/B")
        await account.subscribe("A/C")
        listing = await account.listing()
        assert {info.name for info in listing.mailboxes if info.id} == {"INBOX", "A/B"}
        assert listing.subscriptions == {"A/C"}

    async def test_watched_accounts_tell_their_listeners(
        self, backend: Backend, account: Account
    ) -> None:
        """One watch for all, each of whom hears of all that the others do."""
        watched, heard = WatchedAccounts(backend.account), [asyncio.Event(), asyncio.Event()]
        first = await watched.listen("alice", heard[0].set)
        assert await watched.listen("alice", heard[1].set) is first
        for n in range(3):
            for event in heard:
                event.clear()
            await account.create(f"New{n}")
            async with asyncio.timeout(PATIENCE_S):
                while f"New{n}" not in {info.name for info in first.listing.mailboxes}:
                    await asyncio.gather(*(event.wait() for event in heard))
                    for event in heard:
                        event.clear()
        for event in heard:
            await watched.unlisten("alice", event.set)
