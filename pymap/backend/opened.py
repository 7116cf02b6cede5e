"""The mailboxes that sessions of this process have open, each once, with its columns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from pymap.backend.api import Changes, Mailbox
from pymap.backend.errors import BackendError, MailboxGone
from pymap.backend.index import MessageIndex
from pymap.backend.summaries import Summaries
from pymap.wire.types import NO_UIDS, UidSet

log = logging.getLogger("pymap.opened")

__all__ = ["OpenMailbox", "OpenMailboxes"]

RETRY_S = 1.0


class OpenMailbox:
    """A mailbox and its columns; one per mailbox and process.

    If the store has columns of its own, they are used as they are; if others share the store, it
    is asked to refresh them. Without such columns they are filled once from `metadata` and follow
    `changes`. While someone listens to what others may change, one task waits for news; it fills no
    columns that nobody has asked for.
    """

    __slots__ = (
        "__weakref__", "_filled", "_heard", "_lock", "_summaries", "_watcher", "index", "mailbox",
        "rekeyed",
    )  # fmt: skip

    def __init__(self, mailbox: Mailbox, summaries: Summaries | None = None) -> None:
        self.mailbox = mailbox
        self.index = mailbox.index if mailbox.index is not None else MessageIndex(modseq=0)
        self._filled = mailbox.index is not None
        self.rekeyed: dict[str, int] = {}
        """How often a user has made the key of URLAUTH anew since the mailbox was opened."""
        self._summaries = Summaries() if summaries is None else summaries
        self._lock = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self._heard = 0  # the modseq that `_watch` knows of without columns

    async def sync(self) -> MessageIndex:
        """The columns, current as of this call. Raises MailboxGone."""
        mailbox = self.mailbox
        if not self.index.gone and (mailbox.index is None or mailbox.shared):
            try:
                if mailbox.index is not None:
                    await mailbox.refresh()
                else:
                    async with self._lock:
                        await self._pull()
            except MailboxGone:
                if not self.index.gone:
                    self.index.close()
        if self.index.gone:
            raise MailboxGone
        return self.index

    async def _pull(self) -> None:
        index, mailbox = self.index, self.mailbox
        if not self._filled:
            snapshot = await mailbox.snapshot()
            uids = UidSet.from_sorted(snapshot.uids)
            rows = await mailbox.metadata(uids)
            index.apply(Changes(snapshot.modseq, uids, NO_UIDS), rows, snapshot.uid_next)
            index.changed_log.floor = index.vanished_log.floor = snapshot.modseq
            self._filled = True
            return
        changes = await mailbox.changes(index.modseq)
        if changes.modseq == index.modseq:
            return
        uid_next = max(index.uid_next, changes.changed.highest + 1, changes.vanished.highest + 1)
        if not changes.complete:
            snapshot = await mailbox.snapshot()
            present = UidSet.from_sorted(snapshot.uids)
            gone = UidSet.from_sorted(index.uids) - present
            changes = changes._replace(vanished=gone)
            uid_next = snapshot.uid_next
        rows = await mailbox.metadata(changes.changed) if changes.changed else ()
        index.apply(changes, rows, uid_next)

    async def vanished_since(self, modseq: int) -> UidSet | None:
        """The UIDs expunged after `modseq`, None if nobody knows any more: what the columns have
        forgotten, or were filled too late to see, the store may know."""
        known = self.index.vanished_since(modseq)
        if known is None and self.mailbox.index is None:
            changes = await self.mailbox.changes(modseq)
            known = changes.vanished if changes.complete else None
        return known

    def rekey(self, user: str) -> None:
        """The user has made the key of URLAUTH anew: other sessions of the user, those that idle
        too, tell of it.   RFC 4467 7"""
        self.rekeyed[user] = self.rekeyed.get(user, 0) + 1
        for listener in tuple(self.index.listeners):
            listener()

    async def summaries(self, uids: Sequence[int], email_ids: Sequence[str]) -> list[bytes]:
        """What SORT and THREAD compare of some messages, in the order asked."""
        return await self._summaries.read(self.mailbox, uids, email_ids)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change, until `unlisten`."""
        self.index.listeners.add(listener)
        followed = self.mailbox.index is None or self.mailbox.shared
        if followed and self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def unlisten(self, listener: Callable[[], None]) -> None:
        self.index.listeners.discard(listener)
        if not self.index.listeners and self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self) -> None:
        while not self.index.gone:
            try:
                await self.mailbox.wait(self.index.modseq if self._filled else self._heard)
                if self._filled:
                    await self.sync()
                else:
                    await self._glance()
            except MailboxGone:
                if not self.index.gone:
                    self.index.close()
            except BackendError:
                await asyncio.sleep(RETRY_S)  # the store is away; those who idle wait for it
            except Exception:
                log.exception("waiting for news of a mailbox failed")
                await asyncio.sleep(RETRY_S)

    async def _glance(self) -> None:
        """Whoever listens may want no more than STATUS: that there is news is all that is told."""
        modseq = (await self.mailbox.status()).modseq
        if modseq != self._heard:
            self._heard = modseq
            self.index.tell()


class OpenMailboxes:
    """The open mailboxes of a backend, by id; one that no session holds is forgotten."""

    def __init__(self, summaries: Summaries | None = None) -> None:
        self._summaries = Summaries() if summaries is None else summaries
        self._open: WeakValueDictionary[str | int, OpenMailbox] = WeakValueDictionary()

    def get(self, mailbox: Mailbox) -> OpenMailbox:
        # Columns that a store hands over are their own name: should it ever give one id to two
        # mailboxes, nobody is shown the mail of another.
        key = mailbox.id if mailbox.index is None else id(mailbox.index)
        found = self._open.get(key)
        if found is None or found.index.gone:
            self._open[key] = found = OpenMailbox(mailbox, self._summaries)
        return found
