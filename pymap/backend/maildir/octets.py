"""Messages as octets in files."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from pymap.backend.api import Digest
from pymap.backend.maildir.cache import LONG_HEADER, NOW
from pymap.backend.maildir.replace import write_all

__all__ = ["header_of", "link", "read_message", "read_message_now", "virtual_size", "write_new"]

PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SEND = 1 << 20  # octets in one write: others want the interpreter too


def with_crlf(octets: bytes) -> bytes:
    """Lines ended by LF alone get their CR, as Maildir readers show them."""
    if b"\r\n" in octets:
        octets = octets.replace(b"\r\n", b"\n")
    return octets.replace(b"\n", b"\r\n")


def virtual_size(octets: bytes) -> int:
    return len(octets) + octets.count(b"\n") - octets.count(b"\r\n")


def read_message(path: str, size: int | None, verbatim: bool) -> bytes:
    """The message in a file as the client sees it. `size` is what it has then, if that is known:
    a file of that size is given out as it is, and so is a `verbatim` one. Raises OSError,
    FileNotFoundError also for what is no plain file."""
    fd = os.open(path, PLAIN)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a plain file", path)
        octets = os.read(fd, about.st_size)
        while len(octets) < about.st_size and (part := os.read(fd, about.st_size - len(octets))):
            octets += part
    finally:
        os.close(fd)
    return octets if verbatim or len(octets) == size else with_crlf(octets)


def read_message_now(path: str, size: int) -> bytes | None:
    """The same for the event loop, if the system has the file in memory and the message has that
    size. None otherwise: what there is to be said of it is for `read_message` to find out."""
    try:
        fd = os.open(path, PLAIN)
    except OSError:
        return None
    try:
        length = os.fstat(fd).st_size
        buffer = bytearray(length if length <= size else 0)
        got = os.preadv(fd, (buffer,), 0, NOW)
    except OSError:
        return None
    finally:
        os.close(fd)
    if got != length:
        return None
    octets = bytes(buffer) if got == size else with_crlf(bytes(buffer))
    return octets if len(octets) == size else None


def write_new(path: str, octets: bytes, seconds: int, mode: int) -> None:
    """Make a file, durable, last changed at `seconds` since 1970; none is left if that fails."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(octets)
        while view:
            view = view[os.write(fd, view[:SEND]) :]
        os.utime(fd, (seconds, seconds))
        os.fsync(fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(fd)


def header_of(octets: bytes, made: Digest) -> bytes | None:
    return None if made.header_size > LONG_HEADER else octets[: made.header_size]


def link(old: str, new: str) -> None:
    """A second name for a file or, where that cannot be, a durable copy of it."""
    try:
        os.link(old, new, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
            raise
        _copy(old, new)


def _copy(old: str, new: str) -> None:
    source = os.open(old, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(source, "rb") as file:
        about = os.fstat(source)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, about.st_mode)
        try:
            while part := file.read(SEND):
                write_all(fd, part)
            os.utime(fd, ns=(about.st_atime_ns, about.st_mtime_ns))
            os.fsync(fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(new)
            raise
        finally:
            os.close(fd)
