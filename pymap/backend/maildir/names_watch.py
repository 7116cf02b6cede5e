"""Who is told when mailboxes come, go or get another name, and when subscriptions change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from pymap.backend.maildir.account_files import SPECIAL_USE, SUBSCRIPTIONS
from pymap.backend.maildir.watch import GONE, LOST, Watcher

log = logging.getLogger("pymap.maildir")

__all__ = ["NamesWatch"]

IS_DIRECTORY = 0x40000000  # IN_ISDIR
FILES = (SUBSCRIPTIONS, SPECIAL_USE)


class NamesWatch:
    """Directories in which mailboxes may appear. To be used in one event loop."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher
        self._watches: dict[Path, int] = {}
        self.news = asyncio.Event()

    def cover(self, directories: Iterable[Path]) -> bool:
        """Watch these, and no others from now on; False if that cannot be."""
        if self._watcher is None:
            return False
        wanted = set(directories)
        for path in self._watches.keys() - wanted:
            self._watcher.forget(self._watches.pop(path), self._told)
        try:
            for path in wanted - self._watches.keys():
                try:
                    self._watches[path] = self._watcher.watch(str(path), self._told)
                except (FileNotFoundError, NotADirectoryError):
                    self.news.set()  # it has just gone
        except OSError as error:
            log.warning("%s: cannot be watched (%s), is looked at instead", path, error.strerror)
            self.stop()
            return False
        return True

    def stop(self) -> None:
        watches, self._watches = self._watches, {}
        if self._watcher is not None:
            for number in watches.values():
                self._watcher.forget(number, self._told)

    def _told(self, name: str, mask: int) -> None:
        # Files of the mailbox that the directory is change all the time.
        if mask & (IS_DIRECTORY | LOST | GONE) or name in FILES:
            self.news.set()
