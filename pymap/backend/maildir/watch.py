"""Who is told when a directory changes: inotify, one instance for the whole process.

Events are read before the columns are shown to anyone, not only when the event loop finds the time:
what another process has done is seen by the next command here, whichever was first in the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from pymap.backend.maildir.acl_file import ACL
from pymap.backend.maildir.journal import LOG
from pymap.backend.maildir.keywords import KEYWORDS

if TYPE_CHECKING:
    from pymap.backend.maildir.directory import MailboxDirectory

log = logging.getLogger("pymap.maildir")

__all__ = ["MailboxWatch", "Watcher", "open_watcher"]

try:
    from inotify_simple import INotify, flags  # type: ignore[import-untyped,unused-ignore]
except ImportError:  # not Linux: then the directories are looked at, see `Survey.poll`
    INotify = None

Told = Callable[[str, int], None]
"""Called with the name of a file and what happened to it; with "" and LOST if events were lost."""

_EVENT = Struct("iIII")
LOST = 0x4000  # IN_Q_OVERFLOW
GONE = 0x0400 | 0x0800 | 0x8000  # IN_DELETE_SELF, IN_MOVE_SELF, IN_IGNORED: of the directory
MODIFIED = 0x0002  # IN_MODIFY
MOVED = 0x0080  # IN_MOVED_TO
READ = 64 * 1024
MANY = 10_000  # files touched, from which on a listing is cheaper


class Watcher:
    """To be used in one event loop. Raises OSError where the system's bounds are reached."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._inotify = INotify(nonblocking=True)
        self._fd: int = self._inotify.fd
        self._ready = select.epoll(1)  # asking is cheaper than a read that finds nothing
        self._ready.register(self._fd, select.EPOLLIN)
        self._loop = loop
        self._told: dict[int, list[Told]] = {}
        loop.add_reader(self._fd, self.drain)

    def watch(self, directory: str, told: Told) -> int:
        """Tell of files that appear in a directory, vanish from it or are written to; returns a
        number for `forget`."""
        mask = flags.CREATE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.MODIFY
        mask |= flags.ONLYDIR | flags.DELETE_SELF | flags.MOVE_SELF
        number: int = self._inotify.add_watch(directory, mask)
        # The same directory has the same number, whoever watches it.
        self._told.setdefault(number, []).append(told)
        return number

    def forget(self, number: int, told: Told) -> None:
        listeners = self._told.get(number)
        if listeners is None:
            return
        listeners.remove(told)
        if not listeners:
            del self._told[number]
            with contextlib.suppress(OSError):  # the directory itself is gone
                self._inotify.rm_watch(number)

    def drain(self) -> None:
        """Tell of everything that has happened until now."""
        while self._ready.poll(0):
            octets = os.read(self._fd, READ)
            at = 0
            while at < len(octets):
                number, mask, _, length = _EVENT.unpack_from(octets, at)
                at += _EVENT.size
                name = os.fsdecode(octets[at : at + length].rstrip(b"\0"))
                at += length
                if mask & LOST:
                    log.warning("inotify: too many events at once; all mailboxes are looked at")
                    for listeners in list(self._told.values()):
                        for told in tuple(listeners):
                            told("", LOST)
                    continue
                for told in tuple(self._told.get(number, ())):
                    told(name, mask)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self._ready.close()
        self._inotify.close()
        self._told.clear()


def open_watcher() -> Watcher | None:
    """None where there is no inotify, or no more of it: then the directories are looked at."""
    if INotify is None:
        return None
    try:
        return Watcher(asyncio.get_running_loop())
    except OSError as error:
        log.warning("no inotify (%s): mailboxes are looked at every second", error.strerror)
        return None


class MailboxWatch:
    """What has happened in the directories of one mailbox and has not been looked at yet."""

    __slots__ = (
        "_at",
        "_logged",
        "_taken",
        "_watcher",
        "_watches",
        "access",
        "everything",
        "news",
        "touched",
    )

    def __init__(self, watcher: Watcher | None, at: MailboxDirectory) -> None:
        self._watcher = watcher
        self._at = at
        self._watches: list[tuple[int, Told]] = []
        self.touched: set[str] = set()
        """Files that others have moved or made, relative to the mailbox."""
        self.everything = False
        """That this is not known: all has to be looked at."""
        self.access = 0
        """How often the access list may have become another one."""
        self._logged = False  # the log has been written to, perhaps by ourselves
        self._taken = False  # something was taken that is not in the columns yet
        self.news = asyncio.Event()

    @property
    def on(self) -> bool:
        """Whether everything that happens is told of. If not, one has to look."""
        return bool(self._watches)

    def start(self) -> None:
        """To be called before the directories are first looked at."""
        if self._watcher is None:
            return
        path = self._at.path
        listeners: list[tuple[str, Told]] = [
            (path, self._told_of_mailbox),
            (f"{path}/new", lambda name, mask: self._told(f"new/{name}", mask)),
            (f"{path}/cur", lambda name, mask: self._told(f"cur/{name}", mask)),
        ]
        try:
            for directory, told in listeners:
                self._watches.append((self._watcher.watch(directory, told), told))
        except FileNotFoundError:
            self.stop()
        except OSError as error:
            log.warning("%s: cannot be watched (%s), is looked at instead", path, error.strerror)
            self.stop()

    def stop(self) -> None:
        watches, self._watches = self._watches, []
        if self._watcher is not None:
            for number, told in watches:
                self._watcher.forget(number, told)

    def _told(self, name: str, mask: int) -> None:
        if mask & (LOST | GONE):
            self.everything = True
        elif name in self._at.expected:
            self._at.expected.discard(name)
            return
        elif mask & MODIFIED or name[4:5] == ".":
            return  # a message is there when it is renamed, and never written to again
        else:
            self.touched.add(name)
            if len(self.touched) > MANY:
                self.everything = True
                self.touched.clear()
        self.news.set()

    def _told_of_mailbox(self, name: str, mask: int) -> None:
        if mask & (LOST | GONE):
            self.everything = True
            self.access += 1
            self.news.set()
        elif name == ACL:
            self.access += 1
        elif name == KEYWORDS and mask & MOVED:
            if name in self._at.expected:
                self._at.expected.discard(name)
            else:
                self.touched.add(name)
                self.news.set()
        elif name == LOG:
            self._logged = True
            if self._at.journal.news:
                self.news.set()

    def has_news(self, busy: bool = False) -> bool:
        """Whether something has happened until now that is not in the columns. `busy` says that
        someone is at work on the files: he may have read it, and not shown it yet."""
        self.drain()
        if self._logged and not busy:
            self._logged = self._at.journal.news
        return bool(self.touched) or self.everything or self._logged or self._taken

    def drain(self) -> None:
        if self._watches and self._watcher is not None:
            self._watcher.drain()

    def take(self) -> tuple[set[str], bool]:
        """What has happened until now: files touched, or that everything has to be looked at."""
        self.drain()
        touched, everything = self.touched, self.everything
        self.touched, self.everything = set(), False
        self._taken = self._taken or bool(touched) or everything
        return touched, everything

    def done(self) -> None:
        """What was taken is in the columns, and all events of our own doing have been told of."""
        self._taken = False
        self.drain()
        self._at.expected.clear()
