"""Files of an export, and plain files of an import."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["new_file", "open_plain", "sync_directory"]


@contextmanager
def new_file(path: Path, seconds: int | None = None) -> Iterator[BinaryIO]:
    """A file that nobody else may read, durable when the context ends, last changed at `seconds`
    since 1970. Raises OSError, FileExistsError if something is there."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        yield file
        file.flush()
        if seconds is not None:
            os.utime(fd, (seconds, seconds))
        os.fsync(fd)


def open_plain(path: Path) -> BinaryIO:
    """A file found in a directory, which may be somebody else's: no link, no pipe, no device.
    Raises OSError, FileNotFoundError also for these."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, "a link", str(path)) from error
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return open(fd, "rb")
    os.close(fd)
    raise FileNotFoundError(errno.ENOENT, "not a plain file", str(path))


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
