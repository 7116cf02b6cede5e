"""A small file whose meaning is kept until it is another file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pymap.backend.maildir.tree import read_plain

__all__ = ["CachedFile"]

TICK_NS = 20_000_000  # within this time two changes of a file may look like one

_T = TypeVar("_T")


class CachedFile(Generic[_T]):
    """What a file says, read again when it is another one. No file says what the octets `missing`
    say. Any thread may read."""

    def __init__(self, path: Path, parse: Callable[[bytes], _T], missing: bytes = b"") -> None:
        self.path = path
        self._parse = parse
        self._missing = missing
        self._cached: tuple[object, _T] | None = None

    def read(self) -> _T:
        """One stat when nothing has changed. Raises ValueError if it is damaged, OSError."""
        try:
            seen = _stamp(os.stat(self.path, follow_symlinks=False))
            cached = self._cached
            if cached is not None and cached[0] == seen:
                return cached[1]
            now = time.time_ns()
            octets, about = read_plain(self.path)
        except FileNotFoundError:
            return self._parse(self._missing)
        found = self._parse(octets)
        fresh = 0 <= now - about.st_mtime_ns < TICK_NS
        self._cached = None if fresh else (_stamp(about), found)
        return found


def _stamp(about: os.stat_result) -> object:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
