"""A mailbox with fewer rights than all: what the session may not do, it cannot.

Whoever adds a method to `Mailbox` that shows or changes something adds it here, with its right.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymap.backend.api import (
    Account,
    Changes,
    Copied,
    Digest,
    Mailbox,
    MailboxStatus,
    Narrowed,
    NewMessage,
    Row,
    Snapshot,
    Stored,
)
from pymap.backend.errors import LimitReached, MailboxNotFound, NoPermission
from pymap.backend.rights import Rights
from pymap.wire.search import SearchKey
from pymap.wire.types import DELETED, SEEN, Flag, FlagOp, UidSet

__all__ = ["Guarded", "bare", "copy", "may_set", "move", "need", "need_right"]

AT_ONCE = 128 * 1024 * 1024  # octets of messages that are held to be appended


def need_right(rights: Rights, letters: str) -> None:
    """Raises NoPermission unless all are there. Who does not even have `l` is told that there is
    no such mailbox: nothing may be learnt from an error.   RFC 4314 6"""
    if not rights.issuperset(letters):
        raise NoPermission if "l" in rights else MailboxNotFound


def need(mailbox: Mailbox, letters: str) -> None:
    """The same of a mailbox that was opened."""
    need_right(mailbox.rights, letters)


def may_set(rights: Rights, flag: Flag) -> bool:
    r"""Whether \Seen, \Deleted or any other flag may be set and cleared.   RFC 4314 4"""
    return ("s" if flag == SEEN else "t" if flag == DELETED else "w") in rights


def bare(mailbox: Mailbox) -> Mailbox:
    """The store's own."""
    return mailbox.inner if isinstance(mailbox, Guarded) else mailbox


async def copy(source: Mailbox, uids: UidSet, target: Mailbox) -> Copied:
    """`Mailbox.copy` between mailboxes of which either may be guarded. RFC 4314 4"""
    need(source, "r")
    need(target, "i")
    store = bare(source)
    if await _keeps_flags(store, uids, target.rights):
        return await store.copy(uids, bare(target))
    return await Mailbox.copy(store, uids, target)


async def move(source: Mailbox, uids: UidSet, target: Mailbox) -> Copied:
    """What STORE, COPY and EXPUNGE together need.   RFC 6851 4.2"""
    need(source, "rte")
    need(target, "i")
    store = bare(source)
    if await _keeps_flags(store, uids, target.rights):
        return await store.move(uids, bare(target))
    copied = await Mailbox.copy(store, uids, target)
    await store.expunge(copied.source)
    return copied


async def _keeps_flags(store: Mailbox, uids: UidSet, rights: Rights) -> bool:
    """Whether the messages have no flag that may not be set where they go. Stores copy messages as
    they are; those that have one are appended, without it, which is no reason to fail: RFC 4314 4.
    Taken off behind a copy, it would be there for a moment, and \\Deleted may be the end of it."""
    if rights.issuperset("swt"):
        return True
    rows = await store.metadata(uids)
    if all(may_set(rights, flag) for flags in {row.flags for row in rows} for flag in flags):
        return True
    if sum(row.size for row in rows) > AT_ONCE:
        raise LimitReached("Too much at once where flags may not be set")
    return False


class Guarded(Mailbox):
    """`inner`, as far as `rights` go: those that its user had when it was opened, which is as
    long as a mailbox is selected.   RFC 4314 5.1.1"""

    def __init__(self, inner: Mailbox, rights: Rights, account: Account) -> None:
        """`account` is whose it is."""
        self.inner = inner
        self.rights = rights
        self.account = account
        self.id, self.uid_validity = inner.id, inner.uid_validity
        self.index, self.shared = inner.index, inner.shared
        self.properties = inner.properties
        self.new_keywords = inner.new_keywords and "w" in rights

    # -- reading --

    async def snapshot(self) -> Snapshot:
        need(self, "r")
        return await self.inner.snapshot()

    async def changes(self, since: int) -> Changes:
        need(self, "r")
        return await self.inner.changes(since)

    async def metadata(self, uids: UidSet) -> Sequence[Row]:
        need(self, "r")
        return await self.inner.metadata(uids)

    async def content(self, uid: int) -> bytes:
        need(self, "r")
        return await self.inner.content(uid)

    async def contents(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        need(self, "r")
        return await self.inner.contents(uids)

    async def digests(self, uids: Sequence[int]) -> Sequence[Digest | None]:
        need(self, "r")
        return await self.inner.digests(uids)

    async def summaries(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        need(self, "r")
        return await self.inner.summaries(uids)

    async def headers(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        need(self, "r")
        return await self.inner.headers(uids)

    async def search(self, key: SearchKey, uids: UidSet) -> Narrowed | None:
        need(self, "r")
        return await self.inner.search(key, uids)

    async def status(self) -> MailboxStatus:
        need(self, "r")
        return await self.inner.status()

    async def refresh(self) -> None:
        need(self, "r")
        await self.inner.refresh()

    async def wait(self, since: int) -> None:
        need(self, "r")
        await self.inner.wait(since)

    async def claim_recent(self, peek: bool = False) -> UidSet:
        r"""What is \Recent is its owner's to claim."""
        need(self, "r")
        return await self.inner.claim_recent(peek=True)

    # -- changing --

    async def append(self, messages: Sequence[NewMessage]) -> UidSet:
        """Flags that may not be set are left out, which is no reason to fail.   RFC 4314 4"""
        need(self, "i")
        if not self.rights.issuperset("swt"):
            messages = [
                message._replace(flags=self._settable(message.flags)) for message in messages
            ]
        return await self.inner.append(messages)

    def _settable(self, flags: frozenset[Flag]) -> frozenset[Flag]:
        return frozenset(flag for flag in flags if may_set(self.rights, flag))

    async def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None = None
    ) -> Stored:
        """Those of the flags that may be changed; NoPermission only if there is none of them.

        RFC 4314 4
        """
        settable = self._settable(flags)
        if not settable and (flags or self.rights.isdisjoint("swt")):
            need(self, "swt")
        if op is FlagOp.SET and not self.rights.issuperset("swt"):
            return await self._replace(uids, settable, unchanged_since)
        return await self.inner.store(uids, op, settable, unchanged_since)

    async def _replace(
        self, uids: UidSet, flags: frozenset[Flag], unchanged_since: int | None
    ) -> Stored:
        """Flags that may not be changed stay: so what is not wanted is taken away by name."""
        known = {flag for row in await self.inner.metadata(uids) for flag in row.flags}
        unwanted = self._settable(frozenset(known)) - flags
        first = await self.inner.store(uids, FlagOp.ADD, flags, unchanged_since)
        then = await self.inner.store(uids - first.failed, FlagOp.REMOVE, unwanted)
        # Someone else's change in between is as one from before: it has to be told.
        before = first.before if then.before == first.modseq else then.before
        return Stored(before, then.modseq, first.changed | then.changed, first.failed)

    async def expunge(self, uids: UidSet, only: Flag | None = None) -> UidSet:
        need(self, "e")
        return await self.inner.expunge(uids, only)

    async def copy(self, uids: UidSet, target: Mailbox) -> Copied:
        return await copy(self, uids, target)

    async def move(self, uids: UidSet, target: Mailbox) -> Copied:
        return await move(self, uids, target)
