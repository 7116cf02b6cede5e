"""A store like one on another machine: it keeps no columns for the engine, and every call of it
waits. What dict answers in one go, this answers one step at a time, so that other sessions come
in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from pymap.backend.api import (
    Account,
    Backend,
    Changes,
    Copied,
    Digest,
    Listing,
    Mailbox,
    MailboxInfo,
    MailboxStatus,
    NewMessage,
    Properties,
    Row,
    Snapshot,
    Stored,
)
from pymap.backend.dict import DictAccount, DictBackend, DictMailbox
from pymap.wire.types import Flag, FlagOp, UidSet


async def distance() -> None:
    await asyncio.sleep(0)


class RemoteProperties(Properties):
    def __init__(self, local: Properties) -> None:
        self.local = local

    async def read(self) -> Mapping[str, bytes]:
        await distance()
        return await self.local.read()

    async def write(
        self,
        changes: Mapping[str, bytes | None],
        expected: Mapping[str, bytes | None] | None = None,
    ) -> bool:
        await distance()
        return await self.local.write(changes, expected)


class RemoteMailbox(Mailbox):
    def __init__(self, local: DictMailbox) -> None:
        self.local = local
        self.properties = RemoteProperties(local.properties)
        self.id, self.uid_validity = local.id, local.uid_validity

    async def snapshot(self) -> Snapshot:
        await distance()
        return await self.local.snapshot()

    async def changes(self, since: int) -> Changes:
        await distance()
        return await self.local.changes(since)

    async def metadata(self, uids: UidSet) -> Sequence[Row]:
        await distance()
        return await self.local.metadata(uids)

    async def content(self, uid: int) -> bytes:
        await distance()
        return await self.local.content(uid)

    async def digests(self, uids: Sequence[int]) -> Sequence[Digest | None]:
        await distance()
        return await self.local.digests(uids)

    async def append(self, messages: Sequence[NewMessage]) -> UidSet:
        await distance()
        return await self.local.append(messages)

    async def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None = None
    ) -> Stored:
        await distance()
        return await self.local.store(uids, op, flags, unchanged_since)

    async def expunge(self, uids: UidSet, only: Flag | None = None) -> UidSet:
        await distance()
        return await self.local.expunge(uids, only)

    async def copy(self, uids: UidSet, target: Mailbox) -> Copied:
        await distance()
        assert isinstance(target, RemoteMailbox)
        return await self.local.copy(uids, target.local)

    async def move(self, uids: UidSet, target: Mailbox) -> Copied:
        await distance()
        assert isinstance(target, RemoteMailbox)
        return await self.local.move(uids, target.local)

    async def claim_recent(self, peek: bool = False) -> UidSet:
        await distance()
        return await self.local.claim_recent(peek)

    async def status(self) -> MailboxStatus:
        await distance()
        return await self.local.status()

    async def wait(self, since: int) -> None:
        """Pushed by the columns of the store itself."""
        changed = asyncio.Event()
        index = self.local.index
        index.listeners.add(changed.set)
        try:
            if index.modseq <= since and not index.gone:
                await changed.wait()
        finally:
            index.listeners.discard(changed.set)


class RemoteAccount(Account):
    def __init__(self, local: DictAccount) -> None:
        self.local = local
        self.properties = RemoteProperties(local.properties)

    async def mailboxes(self) -> Sequence[MailboxInfo]:
        await distance()
        return await self.local.mailboxes()

    async def open(self, name: str) -> Mailbox:
        await distance()
        return RemoteMailbox(await self.local.open(name))

    async def create(self, name: str, special_use: tuple[str, ...] = ()) -> Mailbox:
        await distance()
        return RemoteMailbox(await self.local.create(name, special_use))

    async def delete(self, name: str) -> None:
        await distance()
        await self.local.delete(name)

    async def rename(self, name: str, new_name: str) -> None:
        await distance()
        await self.local.rename(name, new_name)

    async def subscriptions(self) -> frozenset[str]:
        await distance()
        return await self.local.subscriptions()

    async def subscribe(self, name: str) -> None:
        await distance()
        await self.local.subscribe(name)

    async def unsubscribe(self, name: str) -> None:
        await distance()
        await self.local.unsubscribe(name)

    async def wait(self, known: Listing) -> None:
        await self.local.wait(known)


class RemoteBackend(Backend):
    """`local` holds the mail. Not eager: each command runs in a Task of its own."""

    def __init__(self, local: DictBackend) -> None:
        self.local = local
        self.users = local.users

    def properties(self, scope: str) -> RemoteProperties:
        return RemoteProperties(self.local.properties(scope))

    async def ping(self) -> None:
        await distance()
        await self.local.ping()

    @asynccontextmanager
    async def account(self, user: str) -> AsyncIterator[RemoteAccount]:
        await distance()
        yield RemoteAccount(self.local.account_of(user))
