"""What an export is, whatever its format: a tree of files that is made aside and then put in place.

Rule 1: nothing that is there is touched before all of the export is written and synced. If it fails
        the destination is as it was.
Rule 2: the destination is a directory, new or empty. `force` replaces an earlier export of the same
        format; a directory with any file that no export makes is refused, and not followed.
Rule 3: two exports to one destination exclude each other.
Rule 4: it is written inside the destination, in a directory with a name of its own, for what is
        above may belong to somebody else, or be another file system.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

from pymap.admin.formats.files import sync_directory
from pymap.wire.types import InternalDate

__all__ = ["BadExport", "Busy", "Mailbox", "NoPlace", "Tree", "destination"]

log = logging.getLogger("pymap.admin")

_ASIDE = ".pymap-export-"


class BadExport(ValueError):
    """What the server tells makes no sense."""


class NoPlace(Exception):
    """The destination cannot be made, or there is something in it that would be lost."""


class Busy(Exception):
    """Another export goes to the same destination now."""


class Mailbox(NamedTuple):
    name: str
    uid_validity: int
    uid_next: int
    special_use: Sequence[str] = ()
    subscribed: bool = False


class Tree(ABC):
    """An export under `root`, a directory of its own: one mailbox after the other. All methods
    raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def begin(self, mailbox: Mailbox) -> None:
        """Raises NoSuchPath for a name that has no place here; then the next one may begin."""

    @abstractmethod
    def add(
        self, uid: int, flags: Sequence[str], internal_date: InternalDate, content: BinaryIO
    ) -> None:
        """The next message of the mailbox; `content` stands at its beginning."""

    @abstractmethod
    def end(self) -> None:
        """The mailbox is whole, and durable when this returns. Raises BadExport."""

    def finish(self) -> None:
        """So are all of them."""

    def close(self) -> None:
        """Always comes last: what is still open is closed."""


@contextmanager
def destination(
    path: Path, force: bool, is_ours: Callable[[Path, PurePath], bool]
) -> Iterator[Path]:
    """Where to write an export that will be at `path`. It is put there when the context ends
    without an exception. Raises NoPlace, Busy, OSError."""
    made = _make(path)
    try:
        with _locked(path):
            old = _old(path, force, is_ours)
            aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=path))
            try:
                yield aside
                _put_in_place(path, aside, old)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        if made:
            with suppress(OSError):
                path.rmdir()
        raise


def _make(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise NoPlace(f"{path}: is no directory") from None
        return False
    except OSError as error:
        raise NoPlace(f"{path}: {error.strerror}") from error
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Against other exports: what lies aside here has then been left by one that was killed."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"{path}: another export goes there now") from error
        except OSError as error:  # a file system without locks
            log.warning("%s: cannot be locked: %s", path, error.strerror)
        yield
    finally:
        os.close(fd)


def _old(path: Path, force: bool, is_ours: Callable[[Path, PurePath], bool]) -> list[Path]:
    """What stands there and is to go. Raises NoPlace if it must not."""
    old = sorted(path.iterdir())
    for entry in old:
        if entry.name.startswith(_ASIDE):
            continue  # left by one that was killed
        if not force:
            raise NoPlace(f"{path}: is not empty")
        for found in _walk(entry):
            if found.is_symlink() or not is_ours(found, found.relative_to(path)):
                raise NoPlace(f"{found}: was made by no export of this format")
    return old


def _walk(entry: Path) -> Iterator[Path]:
    waiting = [entry]
    while waiting:
        found = waiting.pop()
        yield found
        if found.is_dir() and not found.is_symlink():
            waiting += found.iterdir()


def _put_in_place(path: Path, aside: Path, old: Sequence[Path]) -> None:
    """By renaming, one entry after the other; what was there goes the same way, and comes back if
    that fails half-way."""
    for directory, _, _ in os.walk(aside):  # those that are only levels have not been synced
        sync_directory(Path(directory))
    new = sorted(aside.iterdir())
    gone = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=path))
    moves = [(entry, gone / entry.name) for entry in old]
    moves += [(entry, path / entry.name) for entry in new]
    done = 0
    try:
        for here, there in moves:
            here.rename(there)
            done += 1
        sync_directory(path)
    except BaseException:
        _move_back(moves[:done])
        with suppress(OSError):
            gone.rmdir()
        raise
    shutil.rmtree(gone, ignore_errors=True)


def _move_back(moves: Sequence[tuple[Path, Path]]) -> None:
    for here, there in reversed(moves):
        try:
            there.rename(here)
        except OSError as error:
            log.warning("%s: is now %s, for it cannot be moved back: %s", here, there, error)
