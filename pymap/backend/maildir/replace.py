"""A small file made anew: written beside the old one, synced, renamed over it."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["replace_file", "write_all"]


def replace_file(path: str, beside: str, octets: bytes) -> os.stat_result:
    """Give `path` that content, durably; `beside` is where it is written first.

    Who does this at the same time must be kept out by a lock: what lies at `beside` was left by a
    crash and is removed. The new file may be read and written by whoever may so use the
    directory, as Dovecot has it. Returns the new file's stat. Raises OSError; then the old
    file is there, or the new one but perhaps not for good.
    """
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        about = os.fstat(directory)
        with suppress(FileNotFoundError):
            os.unlink(beside)
        try:
            made = _write_new(beside, octets, about.st_mode & 0o666, about.st_gid)
            os.rename(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
        os.fsync(directory)
        return made
    finally:
        os.close(directory)


def _write_new(path: str, octets: bytes, mode: int, group: int) -> os.stat_result:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        made = os.fstat(fd)
        if made.st_gid != group and mode & 0o060 != (mode & 0o006) << 3:  # the group matters
            with suppress(PermissionError):
                os.fchown(fd, -1, group)
        if made.st_mode & 0o777 != mode:  # the umask took something away
            os.fchmod(fd, mode)
        write_all(fd, octets)
        os.fsync(fd)
        return os.fstat(fd)
    finally:
        os.close(fd)


def write_all(fd: int, octets: bytes | bytearray) -> None:
    """One write, as a rule: the kernel takes less only when the disk is nearly full."""
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]
