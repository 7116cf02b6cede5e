"""The accounts whose names sessions of this process are told of, each watched once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import NamedTuple

from pymap.backend.api import Account, Listing
from pymap.backend.errors import BackendError

log = logging.getLogger("pymap.watched")

__all__ = ["Annotated", "WatchedAccount", "WatchedAccounts"]

RETRY_S = 1.0


class WatchedAccount:
    """The names of an account, kept current by one task for all sessions of the user.

    `listing` is replaced, never changed: a session that holds the one that it has told of sees
    with one comparison that there is another, and all sessions that are in step share it.
    """

    __slots__ = ("_account", "_enter", "_lock", "_manager", "_watcher", "listeners", "listing")

    def __init__(self, enter: Callable[[], AbstractAsyncContextManager[Account]]) -> None:
        self.listeners: set[Callable[[], None]] = set()
        self.listing = Listing(frozenset(), frozenset())
        self._enter = enter
        self._manager: AbstractAsyncContextManager[Account] | None = None
        self._account: Account | None = None
        self._lock = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None

    async def pull(self) -> Listing:
        """The names, as of this call or later."""
        # One at a time: what was asked for earlier must not come in later.
        async with self._lock:
            if self._account is None:
                # Whoever tried before may have failed, or left in the middle of it.
                manager = self._enter()
                self._account = await manager.__aenter__()
                self._manager = manager
            fresh = await self._account.listing()
            if fresh != self.listing:
                self.listing = fresh
                for listener in tuple(self.listeners):
                    listener()
            if self._watcher is None and self.listeners:
                self._watcher = asyncio.get_running_loop().create_task(self._watch(self._account))
            return self.listing

    async def _watch(self, account: Account) -> None:
        while True:
            try:
                await account.wait(self.listing)
                await self.pull()
            except BackendError:
                await asyncio.sleep(RETRY_S)  # the store is away
            except Exception:
                log.exception("waiting for news of an account failed")
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        async with self._lock:
            manager, self._manager, self._account = self._manager, None, None
            if manager is not None:
                await manager.__aexit__(None, None, None)


class Annotated(NamedTuple):
    """Annotations that somebody has changed. `by` is who did it, for himself to know; `mailbox` is
    an id, None for the server's."""

    by: object
    user: str
    mailbox: str | None
    entries: tuple[str, ...]


class WatchedAccounts:
    """The watched accounts of a backend, by user; one that no session listens to is left."""

    def __init__(self, enter: Callable[[str], AbstractAsyncContextManager[Account]]) -> None:
        """`enter` is `Backend.account`, or what stands for it."""
        self._enter = enter
        self._watched: dict[str, WatchedAccount] = {}
        self.annotation_listeners: set[Callable[[Annotated], None]] = set()
        """Called after each change of annotations in this process. What others do is not told of:
        stores have nothing that would wake us."""

    def annotated(self, change: Annotated) -> None:
        for listener in tuple(self.annotation_listeners):
            listener(change)

    async def listen(self, user: str, listener: Callable[[], None]) -> WatchedAccount:
        """Call `listener` after each change of names, until `unlisten`. Raises BackendError."""
        watched = self._watched.get(user)
        if watched is None:
            self._watched[user] = watched = WatchedAccount(partial(self._enter, user))
        watched.listeners.add(listener)
        try:
            await watched.pull()
        except BaseException:
            await self.unlisten(user, listener)
            raise
        return watched

    async def unlisten(self, user: str, listener: Callable[[], None]) -> None:
        """A listener that is not there is no error."""
        watched = self._watched.get(user)
        if watched is None:
            return
        watched.listeners.discard(listener)
        if not watched.listeners:
            del self._watched[user]
            await watched.close()
