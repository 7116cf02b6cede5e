"""The mailboxes of the dict backend: columns in memory, and a dict of messages by UID."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import NamedTuple

from pymap.backend.api import (
    Changes,
    Copied,
    Digest,
    Mailbox,
    MailboxStatus,
    NewMessage,
    Properties,
    Row,
    Snapshot,
    Stored,
)
from pymap.backend.errors import CannotDo, MailboxGone, MessageExpunged
from pymap.backend.index import MessageIndex, NewRow
from pymap.wire.types import Flag, FlagOp, UidSet

__all__ = ["DictMailbox", "DictProperties", "Held"]


class DictProperties(Properties):
    def __init__(self, index: MessageIndex | None = None) -> None:
        """`index` is that of the mailbox that they end with."""
        self._index = index
        self._values: Mapping[str, bytes] = {}

    async def read(self) -> Mapping[str, bytes]:
        if self._index is not None and self._index.gone:
            raise MailboxGone
        return self._values

    async def write(
        self,
        changes: Mapping[str, bytes | None],
        expected: Mapping[str, bytes | None] | None = None,
    ) -> bool:
        known = await self.read()
        if any(known.get(key) != value for key, value in (expected or {}).items()):
            return False
        merged = {**known, **changes}
        self._values = {key: value for key, value in merged.items() if value is not None}
        return True


class StoredMessage(NamedTuple):
    """Octets that all copies of a message share, with what is derived from them."""

    content: bytes
    digest: Digest


@dataclass(slots=True)
class Held:
    """What all mailboxes of an account hold together."""

    octets: int = 0
    messages: int = 0


class DictMailbox(Mailbox):
    """A mailbox whose truth is its `index`: the engine reads the columns as they stand.

    No method suspends, so every call is atomic as it is.
    """

    index: MessageIndex

    def __init__(
        self,
        uid_validity: int,
        uid_next: int = 1,
        max_keywords: int = 500,
        held: Held | None = None,
    ) -> None:
        self.id = "F" + token_hex(8)
        self.uid_validity = uid_validity
        self.index = MessageIndex(uid_next, max_keywords=max_keywords)
        self.messages: dict[int, StoredMessage] = {}
        self.properties = DictProperties(self.index)
        self._held = held or Held()
        self._recent_from = uid_next  # UIDs from here on are recent to the next who asks

    def _alive(self) -> MessageIndex:
        if self.index.gone:
            raise MailboxGone
        return self.index

    async def snapshot(self) -> Snapshot:
        index = self._alive()
        return Snapshot(index.uid_next, index.modseq, index.uids[:])

    async def changes(self, since: int) -> Changes:
        return self._alive().changes(since)

    async def metadata(self, uids: UidSet) -> Sequence[Row]:
        return self._alive().rows(uids)

    async def status(self) -> MailboxStatus:
        index = self._alive()
        return index.status(len(index.uids) - bisect_left(index.uids, self._recent_from))

    async def content(self, uid: int) -> bytes:
        try:
            return self.messages[uid].content
        except KeyError:
            raise MessageExpunged from None

    async def digests(self, uids: Sequence[int]) -> Sequence[Digest | None]:
        found = map(self.messages.get, uids)
        return [None if message is None else message.digest for message in found]

    async def headers(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        found = map(self.messages.get, uids)
        return [
            None if message is None else message.content[: message.digest.header_size]
            for message in found
        ]

    async def append(self, messages: Sequence[NewMessage]) -> UidSet:
        return self.add(messages)

    def add(self, messages: Sequence[NewMessage], recent: bool = True) -> UidSet:
        """`append`, for those who fill a mailbox from within the process."""
        now = int(time.time())
        rows = [
            NewRow(m.flags, len(m.content), m.internal_date, now, m.email_id or "M" + token_hex(8))
            for m in messages
        ]
        kept = [StoredMessage(bytes(m.content), m.digest) for m in messages]
        with self._adding(kept) as index:
            made = index.append(rows)
        if not recent:
            self._recent_from = self.index.uid_next
        return made

    @contextmanager
    def _adding(self, messages: Sequence[StoredMessage]) -> Iterator[MessageIndex]:
        """Rows for `messages` are added to the index inside, or none of both."""
        index = self._alive()
        # The messages first: whoever is told of the rows may ask for them at once.
        first = index.uid_next
        self.messages.update(enumerate(messages, first))
        try:
            yield index
        except Exception:
            for uid in range(first, first + len(messages)):
                del self.messages[uid]
            raise
        self._held.octets += sum(len(message.content) for message in messages)
        self._held.messages += len(messages)

    async def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None = None
    ) -> Stored:
        return self._alive().store(uids, op, flags, unchanged_since)

    async def expunge(self, uids: UidSet, only: Flag | None = None) -> UidSet:
        return self._remove(uids if only is None else uids & self._alive().flagged(only))

    def _remove(self, uids: UidSet) -> UidSet:
        gone = self._alive().expunge(uids)
        for uid in gone:
            self._held.octets -= len(self.messages.pop(uid).content)
        self._held.messages -= len(gone)
        return gone

    async def copy(self, uids: UidSet, target: Mailbox) -> Copied:
        return self._copy(uids, target)

    async def move(self, uids: UidSet, target: Mailbox) -> Copied:
        copied = self._copy(uids, target)
        self._remove(copied.source)
        return copied

    def _copy(self, uids: UidSet, target: Mailbox) -> Copied:
        if not isinstance(target, DictMailbox):
            raise CannotDo("Mailboxes of different stores")
        source = uids.present_in(self._alive().uids)
        with target._adding([self.messages[uid] for uid in source]) as index:
            made = index.copy_from(self.index, source, int(time.time()))
        return Copied(target.uid_validity, source, made)

    async def claim_recent(self, peek: bool = False) -> UidSet:
        first, uid_next = self._recent_from, self.index.uid_next
        if first == uid_next:
            return UidSet()
        if not peek:
            self._recent_from = uid_next
        return UidSet(((first, uid_next - 1),)).present_in(self.index.uids)
