"""Which mailboxes are open, each once, and the inotify watcher that they share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary, finalize

from pymap.backend.errors import BackendError, MailboxGone, MailboxNotFound
from pymap.backend.maildir.directory import MailboxDirectory
from pymap.backend.maildir.filenames import NameMaker
from pymap.backend.maildir.files import MailboxFiles
from pymap.backend.maildir.mailbox import MaildirMailbox, translated
from pymap.backend.maildir.maildirsize import MaildirSize
from pymap.backend.maildir.watch import MailboxWatch, Watcher, open_watcher
from pymap.backend.maildir.workers import Workers
from pymap.limits import Limits

__all__ = ["MaildirStore"]

log = logging.getLogger("pymap.maildir")

KEEP = 256  # mailboxes that nobody has open and that stay loaded all the same
KEEP_MESSAGES = 1_000_000  # in these, together
TICK_S = 0.02  # see `MailboxFiles`


class MaildirStore:
    """To be made, used and closed in one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.names = NameMaker()
        self.watcher: Watcher | None = open_watcher()
        self._loop = asyncio.get_running_loop()
        self.workers = Workers()
        self._open: WeakValueDictionary[Path, MaildirMailbox] = WeakValueDictionary()
        self._ids: WeakValueDictionary[str, MaildirMailbox] = WeakValueDictionary()
        self._recent: OrderedDict[Path, MaildirMailbox] = OrderedDict()
        self._loading: dict[Path, asyncio.Lock] = {}
        self._closed = False

    async def close(self) -> None:
        await self.workers.idle()
        self._closed = True
        mailboxes = list(self._open.values())
        await asyncio.gather(*(self._retire(m.files, m.watch) for m in mailboxes))
        await self.workers.idle()
        if self.watcher is not None:
            self.watcher.close()
        self.workers.close()

    # -- mailboxes --

    async def open(
        self, path: Path, new_uid_validity: Callable[[], int], size: MaildirSize | None = None
    ) -> MaildirMailbox:
        """The mailbox in a directory, one object for all who have it open. `size` counts what its
        account holds."""
        found = self._open.get(path)
        if found is None or found.index.gone:
            lock = self._loading.setdefault(path, asyncio.Lock())
            async with lock:
                found = self._open.get(path)
                if found is None or found.index.gone:
                    found = await self.workers.finish(self._load(path, new_uid_validity, size))
            if self._loading.get(path) is lock and not lock.locked():
                del self._loading[path]
        self._keep(path, found)
        return found

    async def _load(
        self, path: Path, new_uid_validity: Callable[[], int], size: MaildirSize | None
    ) -> MaildirMailbox:
        at = MailboxDirectory(path, self.names, self.limits.keywords, size)
        files = MailboxFiles(at, new_uid_validity)
        watch = MailboxWatch(self.watcher, at)
        watch.start()
        try:
            await self.workers.in_thread(files.load)
        except BaseException as error:
            watch.stop()
            files.at.close()
            if isinstance(error, FileNotFoundError):
                raise MailboxNotFound from error
            if isinstance(error, OSError):
                log.error("%s: %s", path, error)
                raise translated(error) from error
            raise
        other = self._ids.get(files.at.guid)
        if other is not None and await self._is_another(other, files):
            log.warning("%s: a copy of %s, gets an id of its own", path, other.files.at.path)
            await self.workers.in_thread(files.take_new_id)
        if not watch.on:  # the directories may have been made just now
            watch.start()
            watch.everything = watch.on
        watch.done()
        made = MaildirMailbox(self.workers, files, watch, self.forget)
        self._open[path] = self._ids[made.id] = made
        finalize(made, self._retire_soon, files, watch).atexit = False
        return made

    async def _is_another(self, known: MaildirMailbox, files: MailboxFiles) -> bool:
        """Whether a mailbox that is open and has the same id is not this one: renamed, it is."""
        if known.index.gone or known.files.at.path == files.at.path:
            return False
        try:
            await self.workers.in_thread(known.files.at.check_identity)
        except MailboxGone:
            known.close()
            return False
        return True

    def _keep(self, path: Path, mailbox: MaildirMailbox) -> None:
        recent = self._recent
        recent[path] = mailbox
        recent.move_to_end(path)
        total = 0
        if len(recent) > KEEP:
            recent.popitem(last=False)
        for kept in reversed(tuple(recent)):
            total += len(recent[kept].index.uids)
            if total > KEEP_MESSAGES and kept != path:
                del recent[kept]

    def opened(self, path: Path) -> MaildirMailbox | None:
        return self._open.get(path)

    def forget(self, mailbox: MaildirMailbox) -> None:
        """The mailbox is gone."""
        path = mailbox.files.at.directory
        if self._open.get(path) is mailbox:
            del self._open[path]
        if self._recent.get(path) is mailbox:
            del self._recent[path]

    async def renamed(self, old: Path, new: Path) -> None:
        """A directory has another name; whoever has it open, with its lock held, goes on."""
        mailbox = self._open.pop(old, None)
        self._recent.pop(old, None)
        if mailbox is not None and not mailbox.index.gone:
            await self.workers.in_thread(mailbox.files.rename_to, new)
            self._open[new] = mailbox
            self._keep(new, mailbox)

    # -- letting go --

    def _retire_soon(self, files: MailboxFiles, watch: MailboxWatch) -> None:
        """Nobody has the mailbox any more. Called in any thread."""
        if not self._closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._start_retiring, files, watch)

    def _start_retiring(self, files: MailboxFiles, watch: MailboxWatch) -> None:
        self.workers.start(self._retire(files, watch))

    async def _retire(self, files: MailboxFiles, watch: MailboxWatch) -> None:
        """Note in the index that everything is known, so that the next open need not look, and
        let the files go."""
        try:
            if not files.at.readonly and not files.at.state.index.gone:
                await self._settle(files, watch)
        except (BackendError, OSError) as error:
            log.debug("%s: not settled: %s", files.at.path, error)
        finally:
            watch.stop()
            await self.workers.in_thread(files.at.close)

    async def _settle(self, files: MailboxFiles, watch: MailboxWatch) -> None:
        marks = await self.workers.in_thread(files.at.marks)
        if not watch.on:
            if marks == files.at.known_marks:
                await self.workers.in_thread(files.settle, marks)
            return
        # A change in the same tick of the file system's clock would leave the same marks: we wait
        # until it must have been told of.
        age_s = time.time() - max(marks[0], marks[1], marks[4]) / 1e9
        if age_s < TICK_S:
            await asyncio.sleep(TICK_S - max(age_s, 0))
        if not watch.has_news():
            await self.workers.in_thread(files.settle, marks)
