"""A mailbox of the maildir backend: its columns in the event loop, its files in threads.

Rule 1: `lock` is held while anything changes, so columns are never written while a thread reads
        them. A change is one trip to a thread: take the file lock, hear what other processes
        have done, do it, log it. Only if there was news is there a second trip.
Rule 2: what has begun is finished, whoever is cancelled while waiting for it.
Rule 3: without news a command costs nothing but one read of the inotify queue.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

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
)
from pymap.backend.errors import (
    BackendError,
    CannotDo,
    MailboxGone,
    MessageExpunged,
    NoPermission,
    OverQuota,
    Unavailable,
)
from pymap.backend.index import MessageIndex
from pymap.backend.maildir.acl_file import read_access
from pymap.backend.maildir.cache import Cached
from pymap.backend.maildir.files import MailboxFiles, Wanted
from pymap.backend.maildir.properties import MaildirProperties
from pymap.backend.maildir.state import Step
from pymap.backend.maildir.watch import MailboxWatch
from pymap.backend.maildir.workers import Workers
from pymap.backend.maildir.writer import Copies, Staged
from pymap.backend.rights import AccessList
from pymap.wire.types import NO_UIDS, Flag, FlagOp, UidSet

__all__ = ["MaildirMailbox", "translated"]

log = logging.getLogger("pymap.maildir")

POLL_S = 1.0
TRIES = 20  # of finding a file under its name, while others rename it all the time
BATCH = 200  # messages looked up in one trip
FEW = 8  # messages that are looked up without one, if the system has them in memory

_T = TypeVar("_T")


def translated(error: OSError) -> BackendError:
    """What the file system said, as what the client is told."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return OverQuota("The disk is full")
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return NoPermission("The mailbox cannot be written")
        case _:
            return Unavailable("The mailbox cannot be reached now")


class MaildirMailbox(Mailbox):
    shared = True
    index: MessageIndex

    def __init__(
        self,
        workers: Workers,
        files: MailboxFiles,
        watch: MailboxWatch,
        forget: Callable[[MaildirMailbox], None],
    ) -> None:
        """`files` have been loaded, and are watched since before that. `forget` is called when the
        mailbox turns out to be gone."""
        self.id = files.at.guid
        self.uid_validity = files.at.uid_validity
        self.index = files.at.state.index
        self.files = files
        self._workers = workers
        self._forget = forget
        self.lock = asyncio.Lock()
        self.watch = watch
        self._waiting: list[tuple[list[Staged], asyncio.Future[UidSet]]] = []
        self._committing = False
        self._access: tuple[int, AccessList] | None = None

    # -- what others do --

    async def refresh(self) -> None:
        if self.watch.on:
            if not self.watch.has_news(self.lock.locked()) and not self.files.survey.owed:
                return
        elif not await self._reading(self.files.survey.poll):
            return
        else:
            self.watch.everything = True
        await self._finish(self._change(lambda: ([], None)))

    async def wait(self, since: int) -> None:
        if not self.watch.on:
            await asyncio.sleep(POLL_S)
            return
        while self.index.modseq <= since and not self.index.gone and not self.watch.has_news():
            self.watch.news.clear()
            await self.watch.news.wait()

    # -- carrying out --

    async def _finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do it to its end, also when the caller is cancelled meanwhile."""
        return await self._workers.finish(work)

    async def _in_thread(self, call: Callable[..., _T], *args: Any) -> _T:
        try:
            return await self._workers.in_thread(call, *args)
        except OSError as error:
            raise self._failed(error) from error

    async def _reading(self, call: Callable[..., _T], *args: Any) -> _T:
        try:
            return await self._workers.read(call, *args)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> BackendError:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and not Path(self.files.at.path).is_dir():
            self.close()
            return MailboxGone()
        log.error("%s: %s", self.files.at.path, error)
        return translated(error)

    def _apply(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.files.at.state.take(step)
        self.watch.news.set()

    async def _change(self, work: Callable[[], tuple[list[Step], _T]]) -> _T:
        """Do `work` in a thread with both locks held, once everything is known, and show what it
        did."""
        async with self.lock:
            return await self._work(work)

    async def _work(self, work: Callable[[], tuple[list[Step], _T]]) -> _T:
        if self.index.gone:
            raise MailboxGone
        first = True
        try:
            while True:
                touched, everything = self.watch.take()
                steps, done, result = await self._in_thread(
                    self._attempt, work, first, touched, everything
                )
                first = False
                self._apply(steps)
                if done:
                    break
            if self.files.at.journal.long:
                await self._in_thread(self.files.at.checkpoint_if_due)
        except MailboxGone:
            self.close()
            raise
        finally:
            self.files.at.journal.unlock()
            self.watch.done()
        return cast(_T, result)

    def _attempt(
        self,
        work: Callable[[], tuple[list[Step], _T]],
        first: bool,
        touched: set[str],
        everything: bool,
    ) -> tuple[list[Step], bool, Any]:
        if first:
            self.files.at.journal.lock()
            self.files.at.check_identity()
        steps = self.files.survey.catch_up(touched, everything)
        if steps:
            return steps, False, None
        steps, result = work()
        return steps, True, result

    def close(self) -> None:
        """The mailbox is gone: tell every session."""
        if not self.index.gone:
            self.index.close()
        self.watch.news.set()
        self.watch.stop()
        self._forget(self)

    # -- who may do what, and properties --

    async def access_list(self) -> AccessList:
        """From memory, while nobody has written to it and that would be told of."""
        watch = self.watch
        watch.drain()
        now = watch.access
        if self._access is None or self._access[0] != now or not watch.on:
            self._access = now, await self._reading(read_access, self.files.at.directory)
        return self._access[1]

    @property
    def properties(self) -> MaildirProperties:  # type: ignore[override]  # nobody sets it
        # Made anew each time: kept here, it would keep this mailbox from being let go.
        return MaildirProperties(self._read_properties, self._write_properties)

    async def _read_properties(self) -> Mapping[str, bytes]:
        self._alive()
        try:
            return await self._reading(self.files.properties)
        except MailboxGone:
            self.close()
            raise

    async def _write_properties(
        self, changes: Mapping[str, bytes | None], expected: Mapping[str, bytes | None] | None
    ) -> bool:
        return await self._finish(
            self._change(lambda: ([], self.files.write_properties(changes, expected)))
        )

    # -- reading --

    def _alive(self) -> MessageIndex:
        if self.index.gone:
            raise MailboxGone
        return self.index

    async def snapshot(self) -> Snapshot:
        await self.refresh()
        index = self._alive()
        return Snapshot(index.uid_next, index.modseq, index.uids[:])

    async def changes(self, since: int) -> Changes:
        await self.refresh()
        return self._alive().changes(since)

    async def metadata(self, uids: UidSet) -> Sequence[Row]:
        return self._alive().rows(uids)

    async def status(self) -> MailboxStatus:
        await self.refresh()
        index = self._alive()
        return index.status(
            len(index.uids) - bisect_left(index.uids, self.files.at.state.recent_from)
        )

    async def claim_recent(self, peek: bool = False) -> UidSet:
        state, index = self.files.at.state, self.index
        if state.recent_from >= index.uid_next:
            return NO_UIDS
        recent = UidSet(((state.recent_from, index.uid_next - 1),)).present_in(index.uids)
        if not peek:
            # Of many sessions that are told of one message at once, the first has it; that is
            # logged behind their backs.
            state.recent_from = index.uid_next
            self._workers.start(self._change(self._log_recent))
        return recent

    def _log_recent(self) -> tuple[list[Step], None]:
        return self.files.writer.claim_recent(), None

    async def content(self, uid: int) -> bytes:
        (found,) = await self.contents((uid,))
        if found is None:
            raise MessageExpunged
        return found

    async def contents(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        found = self.files.contents_now(uids)
        if len(found) < len(uids):
            await self._read(self.files.contents, [uid for uid in uids if uid not in found], found)
        return [found.get(uid) for uid in uids]

    async def _read(
        self,
        read: Callable[[Sequence[Wanted]], tuple[dict[int, _T], list[int]]],
        uids: Sequence[int],
        found: dict[int, _T],
    ) -> None:
        """Read files, `found` by UID; of those that are not where they were, another look says
        where they are or that they are gone."""
        for _ in range(TRIES):
            wanted = []
            for uid in uids:
                at = self.index.position(uid)
                if at is not None:
                    wanted.append((uid, self.files.at.state.names[uid], self.index.sizes[at]))
            if not wanted:
                return
            some, missing = await self._reading(read, wanted)
            found.update(some)
            if not missing:
                return
            uids = missing
            await self._look_again()
        log.error("%s: files are renamed all the time", self.files.at.path)
        raise Unavailable("The messages are being changed by another program")

    async def _look_again(self) -> None:
        """A file is not where it was: someone has renamed or removed it."""
        self.watch.everything = True
        await self._finish(self._change(lambda: ([], None)))

    async def _derived(self, uids: Sequence[int]) -> dict[int, Cached]:
        found: dict[int, Cached] = {}
        names = self.files.at.state.names
        for start in range(0, len(uids), BATCH):
            some = [uid for uid in uids[start : start + BATCH] if uid in names]
            kept = self.files.at.cache.get_now(some) if len(some) <= FEW else None
            if kept is None:
                kept = await self._reading(self.files.at.cache.get, some)
            found.update(kept)
            if len(kept) < len(some):
                rest = [uid for uid in some if uid not in kept]
                await self._read(self.files.derived, rest, found)
        return found

    async def digests(self, uids: Sequence[int]) -> Sequence[Digest | None]:
        found = await self._derived(uids)
        return [found[uid].digest if uid in found else None for uid in uids]

    async def summaries(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        names = self.files.at.state.names
        some = [uid for uid in uids if uid in names]
        found = await self._reading(self.files.at.cache.summaries, some)
        rest = [uid for uid in some if uid not in found]
        found |= {uid: kept.digest.summary for uid, kept in (await self._derived(rest)).items()}
        return [found.get(uid) for uid in uids]

    async def headers(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        found = await self._derived(uids)
        headers: list[bytes | None] = []
        for uid in uids:
            kept = found.get(uid)
            header = None if kept is None else kept.header
            if kept is not None and header is None:  # too long to be kept
                with suppress(MessageExpunged):
                    header = (await self.content(uid))[: kept.digest.header_size]
            headers.append(header)
        return headers

    # -- changing --

    async def append(self, messages: Sequence[NewMessage]) -> UidSet:
        self._alive()
        if not messages:
            return NO_UIDS
        return await self._finish(self._append(messages))

    async def _append(self, messages: Sequence[NewMessage]) -> UidSet:
        staged = await self._in_thread(self.files.writer.stage, messages)
        return await self._bring_in(staged)

    async def _bring_in(self, staged: list[Staged]) -> UidSet:
        """Commit what was staged, together with what others have staged meanwhile: they share
        the locks and the syncs."""
        future: asyncio.Future[UidSet] = asyncio.get_running_loop().create_future()
        self._waiting.append((staged, future))
        if not self._committing:
            self._committing = True
            self._workers.start(self._commit_all())
        return await future

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                async with self.lock:
                    batch, self._waiting = self._waiting, []
                    await self._commit(batch)
        finally:
            self._committing = False

    async def _commit(self, batch: list[tuple[list[Staged], asyncio.Future[UidSet]]]) -> None:
        groups = [staged for staged, _ in batch]
        try:
            results = await self._work(lambda: self.files.writer.commit(groups))
        except Exception as error:
            for staged, future in batch:
                await self._workers.in_thread(self.files.writer.unstage, staged)
                future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, BackendError):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None = None
    ) -> Stored:
        return await self._finish(self._store_flags(uids, op, flags, unchanged_since))

    async def _store_flags(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None
    ) -> Stored:
        changed = failed = NO_UIDS

        def work() -> tuple[list[Step], tuple[Stored, UidSet]]:
            steps, stored, missing = self.files.writer.store(uids, op, flags, unchanged_since)
            return steps, (stored, missing)

        for _ in range(TRIES):
            done, missing = await self._change(work)
            changed, failed = changed | done.changed, failed | done.failed
            if not missing:
                return done._replace(changed=changed, failed=failed)
            uids = missing
        raise Unavailable("The messages are being changed by another program")

    async def expunge(self, uids: UidSet, only: Flag | None = None) -> UidSet:
        return await self._finish(self._expunge(uids, only))

    async def _expunge(self, uids: UidSet, only: Flag | None) -> UidSet:
        removed = NO_UIDS
        stopped: list[OSError] = []

        def work() -> tuple[list[Step], tuple[UidSet, UidSet]]:
            doomed = uids if only is None else uids & self.index.flagged(only)
            steps, gone, missing, error = self.files.writer.expunge(doomed)
            if error is not None:
                stopped.append(error)
            return steps, (gone, missing)

        for _ in range(TRIES):
            gone, missing = await self._change(work)
            removed |= gone
            if stopped:
                raise self._failed(stopped[0]) from stopped[0]
            if not missing:
                return removed
            uids = missing
        raise Unavailable("The messages are being changed by another program")

    async def copy(self, uids: UidSet, target: Mailbox) -> Copied:
        if not isinstance(target, MaildirMailbox):
            raise CannotDo("Mailboxes of different stores")
        return await self._finish(self._copy(uids, target))

    async def _copy(self, uids: UidSet, target: MaildirMailbox) -> Copied:
        target._alive()
        source: list[int] = []
        staged: list[Staged] = []
        try:
            for _ in range(TRIES):
                copies, missing = await self._change(partial(self._stage_copies, uids, target))
                source += copies.source
                staged += copies.staged
                if not missing:
                    break
                self.watch.everything = True
                uids = UidSet.from_sorted(missing)
        except BaseException:
            await self._workers.in_thread(target.files.writer.unstage, staged)
            raise
        if not source:
            return Copied(target.uid_validity, NO_UIDS, NO_UIDS)
        pairs = sorted(zip(source, staged, strict=True), key=lambda pair: pair[0])
        made = await target._bring_in([item for _, item in pairs])
        source = [uid for uid, _ in pairs]
        await self._in_thread(target.files.writer.copy_kept, self.files.writer, source, made)
        return Copied(target.uid_validity, UidSet.from_sorted(source), made)

    def _stage_copies(
        self, uids: UidSet, target: MaildirMailbox
    ) -> tuple[list[Step], tuple[Copies, list[int]]]:
        return [], target.files.writer.stage_copies(self.files.writer, uids)

    async def move(self, uids: UidSet, target: Mailbox) -> Copied:
        if not isinstance(target, MaildirMailbox):
            raise CannotDo("Mailboxes of different stores")
        if target is self:
            return await self._finish(self._move_within(uids))
        return await self._finish(self._move(uids, target))

    async def _move_within(self, uids: UidSet) -> Copied:
        copied = await self._copy(uids, self)
        await self._expunge(copied.source, None)
        return copied

    async def _move(self, uids: UidSet, target: MaildirMailbox) -> Copied:
        source, made = NO_UIDS, NO_UIDS
        first, second = sorted((self, target), key=lambda mailbox: mailbox.files.at.path)
        for _ in range(TRIES):
            try:
                async with first.lock, second.lock:
                    moved, came, missing = await self._move_locked(uids, target, first, second)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise self._failed(error) from error
                # Another file system: nothing has been moved yet. Twice is better than never.
                copied = await self._copy(uids, target)
                await self._expunge(copied.source, None)
                return copied
            source, made = source | moved, made | came
            if not missing:
                return Copied(target.uid_validity, source, made)
            uids = missing
        raise Unavailable("The messages are being changed by another program")

    async def _move_locked(
        self,
        uids: UidSet,
        target: MaildirMailbox,
        first: MaildirMailbox,
        second: MaildirMailbox,
    ) -> tuple[UidSet, UidSet, UidSet]:
        """With the locks of both in the event loop: take those of both in the file system."""

        def work() -> tuple[list[Step], tuple[list[Step], list[int], UidSet, UidSet]]:
            here, there, moved, came, missing = target.files.writer.receive(self.files.writer, uids)
            return here, (there, moved, came, missing)

        try:
            # The first is held until the second has been caught up with and the work is done.
            await first._locked_open()
            await second._locked_open()
            here, (there, moved, came, missing) = await self._workers.in_thread(work)
            target._apply(here)
            self._apply(there)
        finally:
            for mailbox in (second, first):
                mailbox.files.at.journal.unlock()
                mailbox.watch.done()
        return UidSet.from_sorted(moved), came, missing

    async def _locked_open(self) -> None:
        """Take the file lock, and keep it, with everything known."""
        if self.index.gone:
            raise MailboxGone
        first, steps = True, [Step(0, 0)]
        try:
            while steps:
                touched, everything = self.watch.take()
                steps, _, _ = await self._in_thread(
                    self._attempt, lambda: ([], None), first, touched, everything
                )
                first = False
                self._apply(steps)
        except MailboxGone:
            self.close()
            raise
