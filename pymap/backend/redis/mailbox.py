"""A mailbox of the redis backend: its columns here, its truth in Redis.

Rule 1: each change is one script and one round trip, whose answer brings all that happened since
        what is known here, its own change included.
Rule 2: nothing is locked. Answers may overlap and come late; `Columns.take` passes over what is
        known.
Rule 3: `refresh` asks each time. A message on the channel of the mailbox may still be under way
        when the client that it tells of has its answer, so silence proves nothing; the question
        costs Redis a few microseconds.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_bytes
from typing import Any

from pymap.backend.api import (
    Changes,
    Copied,
    Digest,
    Mailbox,
    MailboxStatus,
    NewMessage,
    Row,
    Snapshot,
    Stored,
    digest,
)
from pymap.backend.errors import LimitReached, MailboxGone, MailboxNotFound, MessageExpunged
from pymap.backend.index import MessageIndex
from pymap.backend.redis.columns import ID, Columns, Loaded, pack_row, pack_uids, unpack_uids
from pymap.backend.redis.connect import AnyLane
from pymap.backend.redis.connection import Argument, ResponseError, translated
from pymap.backend.redis.messages import CHUNK, Request, body_fields, read_digest, write
from pymap.backend.redis.properties import RedisProperties
from pymap.backend.redis.store import RedisStore
from pymap.wire.types import NO_UIDS, Flag, FlagOp, UidSet

__all__ = ["RedisMailbox"]

PIECE = 50_000  # messages loaded in one go: 2.6 MB
TRIES = 5  # of loading a mailbox of several pieces as it is at one moment
LARGE = 64 * 1024  # octets from which on a message does not go with the short calls
LOST = 2  # in news: what is known here never happened there
AHEAD = 2 << 20  # octets that are sent before their answers are waited for
LOOK_S = 60.0  # should a message be lost on its way through a cluster
BATCH = 500  # messages asked for in one go
BATCH_SIZE = 4 << 20  # octets asked for in one go


class RedisMailbox(Mailbox):
    shared = True
    index: MessageIndex

    def __init__(self, store: RedisStore, base: str, mailbox_id: str, uid_validity: int) -> None:
        self.id = mailbox_id
        self.uid_validity = uid_validity
        self.base = base
        self.channel = f"{base}box:{mailbox_id}"
        self._store = store
        self.properties = RedisProperties(lambda: store, base, mailbox_id)
        self._columns = Columns()
        self.index = self._columns.index
        self._loading = asyncio.Lock()
        self._loaded = False

    # -- what is known here --

    def _known(self) -> tuple[str, str, int]:
        """Which mailbox, and since when and from which flag set on its news are wanted: none
        while nobody looks at the columns."""
        columns = self._columns
        known = f"{self.index.modseq if self._loaded else -1}@{columns.stamp.decode()}"
        return self.id, known, columns.known_set

    async def _run(self, name: str, *arguments: Argument) -> Any:
        if self.index.gone:
            raise MailboxGone
        try:
            return await self._store.run(name, self.base, *arguments)
        except MailboxGone:
            self.close()
            raise

    def close(self) -> None:
        """The mailbox is gone: tell every session."""
        if not self.index.gone:
            self.index.close()
        self._store.forget(self)

    async def refresh(self) -> None:
        if self._loaded:
            await self._take(await self._run("pull", *self._known()))
        else:
            await self._load()

    async def _take(self, news: Sequence[Any]) -> None:
        if not news:
            return
        if news[4:] == [LOST]:
            # Redis has forgotten in a crash what it had told: what clients know is void.
            await self._store.run("renew", self.base, self.id, self.uid_validity)
            self.close()
            raise MailboxGone
        given = {}
        if len(news) == 8 and (ids := self._columns.given_in(news[6][4])):
            given = await self._email_ids(ids)
        if not self._columns.take(news, given):
            await self._load()

    async def _load(self) -> None:
        """Bring in everything, then what came while it was brought in."""
        async with self._loading:
            loaded, after, head, tries = Loaded(), 0, None, 0
            while True:
                piece = await self._run("load", self.id, after, PIECE)
                if head is not None and piece[0] != head[0] and tries < TRIES:
                    # Changed meanwhile: a later piece would have modseqs that the news since the
                    # first one brings once more, as lower ones.
                    loaded, after, head, tries = Loaded(), 0, None, tries + 1
                    continue
                head = head or piece
                loaded.add(piece[6])
                self._columns.learn_sets(piece[7])
                if not piece[5]:
                    break
                after = loaded.uids[-1]
            ids = self._columns.given_in(bytes(loaded.rows))
            given = await self._email_ids(ids) if ids else {}
            self._columns.fill(loaded, head, given)
            self._loaded = True
        if after:
            await self.refresh()

    async def _email_ids(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(ids), PIECE):
            some = ids[start : start + PIECE]
            values = await self._store.call("HMGET", self.base + "emails", *some)
            found.update((i, v) for i, v in zip(some, values, strict=True) if v is not None)
        return found

    async def wait(self, since: int) -> None:
        heard = self._store.listener.join(self.channel)
        if self.index.modseq > since or self.index.gone:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await heard.wait()
        heard.clear()

    # -- reading --

    async def _current(self) -> MessageIndex:
        await self.refresh()
        return self.index

    async def _at_hand(self) -> MessageIndex:
        if self.index.gone:
            raise MailboxGone
        if not self._loaded:
            await self._load()
        return self.index

    async def snapshot(self) -> Snapshot:
        index = await self._current()
        return Snapshot(index.uid_next, index.modseq, index.uids[:])

    async def changes(self, since: int) -> Changes:
        return (await self._current()).changes(since)

    async def metadata(self, uids: UidSet) -> Sequence[Row]:
        return (await self._at_hand()).rows(uids)

    async def status(self) -> MailboxStatus:
        index = await self._current()
        return index.status(len(index.uids) - bisect_left(index.uids, self._columns.recent_from))

    async def claim_recent(self, peek: bool = False) -> UidSet:
        index, columns = await self._at_hand(), self._columns
        if columns.recent_from >= index.uid_next:
            return NO_UIDS  # of those that are known here; who claims never gives back
        if peek:
            return UidSet.from_sorted(index.uids[bisect_left(index.uids, columns.recent_from) :])
        first, uid_next = await self._run("recent", self.id)
        columns.recent_from = max(columns.recent_from, uid_next)
        if first == uid_next:
            return NO_UIDS
        if index.uid_next < uid_next:
            await self.refresh()
        return UidSet(((first, uid_next - 1),)).present_in(index.uids)

    # -- octets --

    async def _read(
        self, uids: Sequence[int], fields: Sequence[str], lane: AnyLane, size: int = 0
    ) -> list[list[bytes | None]]:
        """Fields of each message, None for what is not there. `size` is what all of them may hold
        together, so that an answer has some megabytes at most."""
        index = await self._at_hand()
        batch = max(1, min(BATCH, BATCH_SIZE * len(uids) // (size or 1)))
        found: list[list[bytes | None]] = []
        missing: list[bytes | None] = [None] * len(fields)
        for start in range(0, len(uids), batch):
            places = [index.position(uid) for uid in uids[start : start + batch]]
            ids = [self._columns.message_id(at) for at in places if at is not None]
            answers = iter(())
            if ids:
                answers = iter(
                    await self._store.run_after(
                        (), "read", self.base, len(fields), *fields, *ids, lane=lane
                    )
                )
            found += [missing if at is None else next(answers) for at in places]
        return found

    async def content(self, uid: int) -> bytes:
        (found,) = await self.contents((uid,))
        if found is None:
            raise MessageExpunged
        return found

    async def contents(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        index = await self._at_hand()
        places = [index.position(uid) for uid in uids]
        sizes = [None if at is None else index.sizes[at] for at in places]
        known = [size for size in sizes if size is not None]
        lane = self._store.quick if sum(known) <= LARGE else self._store.bulk
        # Most of a large one is left for calls of its own.
        fields = ["header", *list(body_fields(max(known, default=0)))[:2]]
        total = sum(min(size, 3 * CHUNK) for size in known)
        found: list[bytes | None] = []
        parts = await self._read(uids, fields, lane, total)
        for uid, size, some in zip(uids, sizes, parts, strict=True):
            octets = b"".join(part for part in some if part is not None)
            if size is not None and some[0] is not None and len(octets) < size:
                octets = await self._rest(uid, octets, size)
            found.append(octets if some[0] is not None and len(octets) == size else None)
        return found

    async def _rest(self, uid: int, octets: bytes, size: int) -> bytes:
        """A large message, some pieces at a time."""
        fields, parts = list(body_fields(size))[2:], [octets]
        for start in range(0, len(fields), 4):
            (some,) = await self._read((uid,), fields[start : start + 4], self._store.bulk)
            parts += [part for part in some if part is not None]
        return b"".join(parts)

    async def digests(self, uids: Sequence[int]) -> Sequence[Digest | None]:
        found: list[Digest | None] = []
        read = await self._read(uids, ["digest", "summary"], self._store.quick)
        for uid, (packed, summary) in zip(uids, read, strict=True):
            kept = read_digest(packed, summary) if packed and summary else None
            found.append(kept[0] if kept else await self._derived(uid) if packed else None)
        return found

    async def _derived(self, uid: int) -> Digest | None:
        """The digest of a message that another version has written."""
        (content,) = await self.contents((uid,))
        return None if content is None else digest(content)

    async def summaries(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        found = [summary for (summary,) in await self._read(uids, ["summary"], self._store.quick)]
        missing = [at for at, summary in enumerate(found) if summary is None]
        made = await self.digests([uids[at] for at in missing]) if missing else ()
        for at, one in zip(missing, made, strict=True):
            found[at] = one and one.summary
        return found

    async def headers(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        found: list[bytes | None] = []
        kept = await self._read(uids, ["header", "digest"], self._store.quick)
        for uid, (header, packed) in zip(uids, kept, strict=True):
            known = None if packed is None else read_digest(packed, b"")
            if header is None or (known and known[0].header_size == len(header)):
                found.append(header)
                continue
            content = (await self.contents((uid,)))[0]  # too long to be kept by itself
            size = known[0].header_size if known else len(header)
            found.append(None if content is None else content[:size])
        return found

    # -- changing --

    async def append(self, messages: Sequence[NewMessage]) -> UidSet:
        if self.index.gone:
            raise MailboxGone
        if not messages:
            return NO_UIDS
        pending, now = self.base + "pending", int(time.time())
        arguments: list[Argument] = []
        writes: list[Request] = []
        total = 0
        for message in messages:
            message_id = token_bytes(ID)
            key = f"{self.base}msg:{message_id.hex()}"
            content = bytes(message.content)
            requests, fields = write(key, content, message.digest)
            for request in requests:
                # Before each of them: should a sweep come in between, the next is found again.
                writes += [("ZADD", pending, now, message_id), request]
            given = message.email_id or ""
            row = pack_row(len(content), message.internal_date, message_id, bool(given))
            flags = " ".join(flag.name for flag in message.flags)
            arguments += [row, flags, fields, given]
            total += len(content)
        small = total <= LARGE
        lane = self._store.quick if small else self._store.bulk
        if not small:
            await self._write_ahead(lane, writes)
            writes = []
        try:
            made, news = await self._store.run_after(
                tuple(writes), "append", self.base, *self._known(), self._store.limits.keywords,
                *arguments, lane=lane,
            )  # fmt: skip
        except MailboxGone:
            self.close()
            raise
        except LimitReached:
            raise LimitReached("Too many different keywords in this mailbox") from None
        await self._take(news)
        return unpack_uids(made)

    async def _write_ahead(self, lane: AnyLane, writes: Sequence[Request]) -> None:
        """Large messages, some megabytes at a time, before the script that makes them visible. If
        it comes to nothing, the sweep finds them among those that are pending."""
        some: list[Request] = []
        size = 0
        for request in (*writes, ()):
            if some and (not request or size > AHEAD):
                for answer in await lane.many(*some):
                    if isinstance(answer, ResponseError):
                        raise translated(answer) from answer
                some, size = [], 0
            some.append(request)
            size += sum(len(part) for part in request if isinstance(part, bytes))

    async def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None = None
    ) -> Stored:
        names = " ".join(flag.name for flag in flags)
        since = -1 if unchanged_since is None else unchanged_since
        try:
            before, modseq, changed, failed, news = await self._run(
                "store", *self._known(), self._store.limits.keywords, pack_uids(uids), op.value,
                names, since,
            )  # fmt: skip
        except LimitReached:
            raise LimitReached("Too many different keywords in this mailbox") from None
        await self._take(news)
        return Stored(before, modseq, unpack_uids(changed), unpack_uids(failed))

    async def expunge(self, uids: UidSet, only: Flag | None = None) -> UidSet:
        flag = "" if only is None else only.name
        gone, news = await self._run("expunge", *self._known(), pack_uids(uids), flag)
        if gone:
            self._store.soil(self.base)
        await self._take(news)
        return unpack_uids(gone)

    async def copy(self, uids: UidSet, target: Mailbox) -> Copied:
        if not isinstance(target, RedisMailbox) or target.base != self.base:
            return await super().copy(uids, target)
        return await self._copy(uids, target, 0)

    async def move(self, uids: UidSet, target: Mailbox) -> Copied:
        if not isinstance(target, RedisMailbox) or target.base != self.base:
            return await super().move(uids, target)
        return await self._copy(uids, target, 1)

    async def _copy(self, uids: UidSet, target: RedisMailbox, moving: int) -> Copied:
        if target.index.gone:
            raise MailboxGone
        try:
            source, made, news, there = await self._run(
                "copy", *self._known(), *target._known(), self._store.limits.keywords,
                pack_uids(uids), moving,
            )  # fmt: skip
        except LimitReached:
            raise LimitReached("Too many different keywords in the target mailbox") from None
        except MailboxNotFound:
            target.close()
            raise
        if source and not moving:
            self._store.soil(self.base)
        await target._take(there)
        await self._take(news)
        return Copied(target.uid_validity, unpack_uids(source), unpack_uids(made))
