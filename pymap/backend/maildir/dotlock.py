"""Lock files as Dovecot makes them: `dovecot-uidlist` is locked by `dovecot-uidlist.lock`.

Seen of Dovecot 2.3.19:

Rule 1: the lock is held by whoever created the file (O_CREAT and O_EXCL), and given back by
        unlinking it. It holds "<pid>:<host name>", nothing more, no line end.
Rule 2: of a process of this host that is gone, the lock is taken over. While that process lives
        it is not, however old it is. (Dovecot looks at the process after two seconds.)
Rule 3: of another host, or when nothing readable is in it, it is taken over when it was not
        touched for 120 seconds. A change of owner or mode touches it as well: the later of
        mtime and ctime counts.
Rule 4: Dovecot itself waits 120 seconds, woken by inotify when the file is unlinked.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pymap.backend.errors import InUse

__all__ = ["HOST", "STALE_S", "dotlock", "holds", "is_running"]

log = logging.getLogger("pymap.maildir")

HOST = socket.gethostname()
STALE_S = 120.0
FIRST_PAUSE_S = 0.0005
LONGEST_PAUSE_S = 0.05

# Which process this is cannot differ within it, so these are the module's.
_started = time.time()
_held: dict[str, int] = {}  # path of the lock -> thread


@contextmanager
def dotlock(path: Path, timeout_s: float = 30.0) -> Iterator[None]:
    """Hold the lock of `path` for a while; it keeps out other threads, processes and hosts.

    Five system calls when nobody else wants it. Not reentrant. Raises InUse if somebody else
    held it all the time, OSError when the lock cannot be made.
    """
    lock = f"{path}.lock"
    fd = _acquire(lock, timeout_s)
    try:
        yield
    finally:
        _release(lock, fd)


def holds(path: Path) -> bool:
    """Whether this thread holds the lock of `path`, named as it was for `dotlock`."""
    return _held.get(f"{path}.lock") == threading.get_ident()


def is_running(pid: int) -> bool:
    """Whether a process of this host has that number."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _acquire(lock: str, timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    pause = FIRST_PAUSE_S
    while True:
        with suppress(FileExistsError):
            return _create(lock)
        gone = _remove_if_stale(lock)
        left = deadline - time.monotonic()
        if left <= 0:
            log.warning("%s: somebody else held it for %.1f s", lock, timeout_s)
            raise InUse("The mailbox is in use by another program")
        if not gone:
            # The random part keeps those who wait for one another from marching in step.
            time.sleep(min(left, pause * random.uniform(0.5, 1)))
            pause = min(pause * 1.5, LONGEST_PAUSE_S)


def _create(lock: str) -> int:
    """The open file: it stays open while the lock is held, so that it can be known again."""
    fd = _nameless(os.path.dirname(lock))
    nameless = fd >= 0
    if not nameless:
        fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with suppress_full():
            os.write(fd, b"%d:%s" % (os.getpid(), os.fsencode(HOST)))
        if nameless:
            # With a directory given, Python asks for a link to the file, not to its name in /proc.
            os.link(f"/proc/self/fd/{fd}", lock, src_dir_fd=fd)
    except OSError:
        if nameless:
            os.close(fd)
        else:
            _release(lock, fd)
        raise
    _held[lock] = threading.get_ident()
    return fd


def _nameless(directory: str) -> int:
    """A file that gets its name when it says already whose it is: then nobody can be killed in
    between and leave a lock that is empty. -1 where there is no such thing."""
    if not hasattr(os, "O_TMPFILE"):
        return -1
    try:
        return os.open(directory or ".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return -1
        raise


@contextmanager
def suppress_full() -> Iterator[None]:
    """On a full disk a lock stays empty, and locks all the same: mail can still be expunged."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _release(lock: str, fd: int) -> None:
    _held.pop(lock, None)
    try:
        if os.fstat(fd).st_nlink:
            os.unlink(lock)
        else:
            log.warning("%s: was taken over by somebody else while it was held", lock)
    except FileNotFoundError:
        log.warning("%s: vanished while it was held", lock)
    finally:
        os.close(fd)


def _remove_if_stale(lock: str) -> bool:
    """Unlink the lock of somebody who is gone; True if there is none now.

    Two who find the same stale lock must not both remove it, for the second would remove the
    lock that the first has made since: so it is done under flock, to the file that was judged.
    Against Dovecot, which takes no such care, the time between two system calls remains.
    """
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # who holds it cannot be seen
    try:
        found = os.fstat(fd)
        reason = _why_stale(lock, os.pread(fd, 512, 0), max(found.st_mtime, found.st_ctime))
        if not reason or not _alone(fd):
            return False
        if not os.path.samestat(found, os.stat(lock, follow_symlinks=False)):
            return False
        os.unlink(lock)
        log.warning("%s: taken over, %s", lock, reason)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        return False  # it is not a file, or may not be removed
    finally:
        os.close(fd)


def _alone(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without flock, as some NFS: then there is no more care to take
    return True


def _why_stale(lock: str, content: bytes, touched: float) -> str:
    """Why a lock with that content, touched at that time, is nobody's; empty if it may be held."""
    number, _, host = content.partition(b":")
    if host == os.fsencode(HOST) and number.isdigit() and (pid := int(number)):
        if not is_running(pid):
            return f"process {pid} is gone"
        # A container gives its processes the same few numbers each time it is started: what
        # our number left here before we ran is not ours.
        if pid == os.getpid() and lock not in _held and touched < _started - 1:
            return "left by an earlier process of our number"
        return ""
    age = time.time() - touched
    return f"not touched for {age:.0f} s" if age > STALE_S else ""
