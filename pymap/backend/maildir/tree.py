"""Changes to which mailboxes there are: one at a time, whole also after a crash.

Rule 1: who makes, removes or renames a mailbox holds the lock of the tree. It is Dovecot's:
        whoever has a write lock (fcntl) on the file that is now called `mailboxes.lock` in the
        root. The holder unlinks the file at the end, so a lock on one that is no longer there
        is none, and is asked for again.
Rule 2: what takes more than one rename is first written to `pymap-moves`, durable. Whoever has
        the lock next finishes what a crash cut off; each step knows its directory or file by the
        inode number, so what has been done, or made anew since, is left alone. Within a mailbox
        others go on without this lock: there a file may vanish before its turn.
Rule 3: what is being built, moved or deleted lies in `tmp` of INBOX, as ``pymap-trash.*`` or
        ``pymap-moving.*``: a layout lists all other places, or Dovecot does. Trash may be
        deleted at any time when nobody has the lock. What is on the move never is.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from pymap.backend.errors import InUse, MailboxExists, NoPermission
from pymap.backend.maildir.replace import replace_file

__all__ = [
    "Move", "carry_out", "collect_trash", "delete", "finish", "is_clean", "is_directory",
    "lock_tree", "make_directory", "moving", "prune", "read_plain", "sync", "trash",
]  # fmt: skip

log = logging.getLogger("pymap.maildir")

MOVES = "pymap-moves"
TRASH, MOVING = "pymap-trash.", "pymap-moving."
MOST_OCTETS = 32 << 20  # of a file: far more than 10,000 mailboxes with long names take
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
LONGEST_PAUSE_S = 0.05

# A write lock on the whole file: type, whence, start, length, pid.
_WHOLE = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Move(NamedTuple):
    """One rename. Paths are relative to the root; `inode` is that of what is moved, 0 for whatever
    is there then."""

    old: str
    new: str
    inode: int


# -- the lock --


@contextmanager
def lock_tree(root: Path, timeout_s: float = 30.0) -> Iterator[None]:
    """Keep out other threads, processes and Dovecot. Not reentrant. Raises InUse, OSError."""
    path = f"{root}/mailboxes.lock"
    fd = _acquire(path, timeout_s)
    try:
        yield
    finally:
        try:
            os.unlink(path)
        except FileNotFoundError:
            log.warning("%s: vanished while it was held", path)
        finally:
            os.close(fd)


def _acquire(path: str, timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    pause = 0.0005
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            if _try_lock(fd) and _is_at(fd, path):
                kept, fd = fd, -1
                return kept
        finally:
            if fd >= 0:
                os.close(fd)
        if time.monotonic() > deadline:
            raise InUse("Another program is changing the mailboxes")
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_S)


def _try_lock(fd: int) -> bool:
    """Linux's locks of open files keep out Dovecot's locks of processes, and other threads too,
    which those of processes do not. Elsewhere flock keeps out at least ourselves."""
    try:
        if hasattr(fcntl, "F_OFD_SETLK"):
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WHOLE)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


# -- renames, under the lock --


def carry_out(root: Path, moves: Sequence[Move]) -> None:
    """All of the moves or none, durably; one alone needs no list.

    Raises MailboxExists if something came in the way, and OSError; either way all is as before,
    or (when that fails as well) is finished by the next `finish`.
    """
    intent = f"{root}/{MOVES}"
    if len(moves) > 1:
        replace_file(intent, f"{root}/{trash(root)}", json.dumps({"moves": moves}).encode())
    done: list[Move] = []
    try:
        for move in moves:
            old, new = f"{root}/{move.old}", f"{root}/{move.new}"
            try:
                os.rename(old, new)
            except FileNotFoundError:
                if len(moves) == 1 or os.path.lexists(old):
                    raise
            else:
                done.append(move)
    except OSError as error:
        for move in reversed(done):
            os.rename(f"{root}/{move.new}", f"{root}/{move.old}")
        _forget(root, moves)
        if error.errno in TAKEN:
            raise MailboxExists("Something else already has that name") from error
        raise
    _forget(root, moves)


def finish(root: Path) -> None:
    """Do what remains of moves that a crash cut off. Raises OSError: then it is tried again."""
    try:
        moves = _read_moves(f"{root}/{MOVES}")
    except FileNotFoundError:
        return
    except ValueError as error:
        log.error("%s/%s: %s; set aside", root, MOVES, error)
        os.rename(f"{root}/{MOVES}", f"{root}/{MOVES}.damaged")
        return
    for move in moves:
        old, new = f"{root}/{move.old}", f"{root}/{move.new}"
        try:
            if os.lstat(old).st_ino != move.inode and move.inode:
                continue  # made anew since
        except FileNotFoundError:
            continue  # it had come to that, or somebody has removed it since
        try:
            os.makedirs(os.path.dirname(new), 0o700, exist_ok=True)
            os.rename(old, new)
            log.info("%s: moved to %s, as was begun before a crash", old, new)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            log.error("%s: cannot become %s, which is there: left as it is", old, new)
    _forget(root, moves)


def _read_moves(path: str) -> list[Move]:
    """Raises FileNotFoundError, OSError; ValueError if it is damaged."""
    octets, _ = read_plain(path)
    try:
        moves = [Move(str(old), str(new), int(i)) for old, new, i in json.loads(octets)["moves"]]
    except (LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a list of moves: {error}") from error
    for path in {path for move in moves for path in (move.old, move.new)}:
        if path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise ValueError("a move that is not within the tree")
    return moves


def _forget(root: Path, moves: Iterable[Move]) -> None:
    """What was moved is where it belongs: make it durable, then drop the list."""
    sync(*{os.path.dirname(f"{root}/{path}") for move in moves for path in (move.old, move.new)})
    with suppress(FileNotFoundError):
        os.unlink(f"{root}/{MOVES}")
        sync(root)


# -- files and directories --


def read_plain(path: str | Path, octets: int | None = None) -> tuple[bytes, os.stat_result]:
    """A plain file, or its beginning. Raises OSError, and ValueError for what is none: a link, a
    pipe, a directory, a file larger than any of ours."""
    try:
        with open(path, "rb", opener=_open_plain) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or (octets is None and about.st_size > MOST_OCTETS):
                raise ValueError("not a file of a size that can be")
            return file.read(octets), about
    except IsADirectoryError as error:
        raise ValueError("a directory") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("a link, which is not followed") from error
        raise


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def sync(*directories: str | Path) -> None:
    """Make durable which names are in them; one that is gone needs it no more."""
    for directory in directories:
        with suppress(FileNotFoundError):
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def make_directory(path: str | Path, like: os.stat_result) -> None:
    """With the mode and group of another, whatever the umask, as Dovecot has it."""
    mode = like.st_mode & 0o777
    os.mkdir(path, mode)
    made = os.stat(path)
    if made.st_gid != like.st_gid and mode & 0o070:
        with suppress(PermissionError):
            os.chown(path, -1, like.st_gid)
    if made.st_mode & 0o777 != mode:
        os.chmod(path, stat.S_IMODE(made.st_mode) | mode)


def is_directory(path: str | Path) -> bool:
    """Whether it is one itself: a symbolic link is none."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


# -- trash --


def trash(root: Path) -> str:
    """A new name, relative to the root, for what is to be deleted, or is not complete yet."""
    return _aside(root, TRASH)


def moving(root: Path) -> str:
    """A new name, relative to the root, for what is between two places."""
    return _aside(root, MOVING)


def _aside(root: Path, prefix: str) -> str:
    tmp = root / "tmp"
    with suppress(FileExistsError):
        make_directory(tmp, os.stat(root))
    if not is_directory(tmp):
        raise NoPermission("The mailbox leads elsewhere")
    return f"tmp/{prefix}{token_hex(8)}"


def is_clean(root: Path) -> bool:
    """Whether a crash has left nothing, as it seems without the lock."""
    return not os.path.lexists(f"{root}/{MOVES}") and not _set_aside(root)


def collect_trash(root: Path) -> list[str]:
    """What is to be deleted; asked under the lock, so that nothing of it is being built."""
    found = _set_aside(root)
    for path in found:
        if os.path.basename(path).startswith(MOVING):
            prune(path)  # what is not empty had no place to go to: `finish` has said so
    return [path for path in found if os.path.basename(path).startswith(TRASH)]


def _set_aside(root: Path) -> list[str]:
    try:
        names = os.listdir(root / "tmp")
    except FileNotFoundError:
        return []
    return [f"{root}/tmp/{name}" for name in names if name.startswith((TRASH, MOVING))]


def delete(path: str | Path) -> None:
    """Remove a directory with all that is in it. Needs no lock, and another may do the same: what
    has gone meanwhile is no error. What cannot be deleted is logged and stays."""
    waiting = [str(path)]
    try:
        if os.path.islink(path):
            os.unlink(path)  # an alias: not what it stands for
            return
        while waiting:
            directory = waiting[-1]
            inner = _empty(directory)
            if inner:
                waiting += inner
                continue
            with suppress(FileNotFoundError):
                os.rmdir(directory)
            waiting.pop()
    except OSError as error:
        log.warning("%s: cannot be deleted: %s", path, error)


def _empty(directory: str) -> list[str]:
    """Unlink its files; the directories in it are returned. Links are files."""
    try:
        with os.scandir(directory) as entries:
            inner = [entry for entry in entries if not _unlinked(entry)]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        os.unlink(directory)
        return []
    return [entry.path for entry in inner]


def _unlinked(entry: os.DirEntry[str]) -> bool:
    if entry.is_dir(follow_symlinks=False):
        return False
    with suppress(FileNotFoundError):
        os.unlink(entry.path)
    return True


def prune(path: str | Path) -> None:
    """Remove a directory of which only empty directories are left."""
    for directory, _, _ in os.walk(path, topdown=False):
        with suppress(OSError):
            os.rmdir(directory)
