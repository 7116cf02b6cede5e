"""Where the admin sockets of running servers are.

A server's is `admin-<pid>.sock` in the first of these directories that it can have to itself:
$RUNTIME_DIRECTORY (systemd makes it), $XDG_RUNTIME_DIR/pymap, /run/pymap for root, pymap in the
directory for temporary files and, where that belongs to somebody else, pymap-<uid> there.

Rule 1: the directory belongs to the server's user, is no link, and nobody else may write there;
        one that is made here has mode 0700. The socket has mode 0600.
Rule 2: a name that ends in .sock listens from the first moment. One that refuses was left by a
        server that was killed: nobody connects to it, and the next server takes it away.
Rule 3: a client that looks for itself trusts only directories that others cannot have put there.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["find", "listen"]

RUN = Path("/run")
NAME = "pymap"
BACKLOG = 100
LONGEST = 107 if sys.platform == "linux" else 103  # sockaddr_un, with its NUL


# -- the client's side --


def find() -> list[Path]:
    """The sockets of running servers that this user may talk to, in the order of the directories
    and then by name. Each is tried with a connection."""
    found: dict[Path, None] = {}  # a set that keeps the order
    for directory in dict.fromkeys([*_candidates(), RUN / NAME]):
        if _trusted(directory):
            found.update((path.resolve(), None) for path in _sockets(directory) if _answers(path))
    return list(found)


def _trusted(directory: Path) -> bool:
    """Whether a server in this directory is what it seems, for it is given passwords and mail.

    Ours and root's are; and where only root can make a directory, as in /run, it was root who gave
    it to its owner. A server that some user runs for himself is nothing that root would talk to
    unless told to.
    """
    if not _is_safe(directory):
        return False
    owner = directory.lstat().st_uid
    if owner in (0, os.geteuid()):
        return True
    parent = directory.parent.stat()
    return parent.st_uid == 0 and not parent.st_mode & 0o022


def _answers(path: Path) -> bool:
    return _try(path) is True


# -- the server's side --


@contextmanager
def listen(path: Path | None = None) -> Iterator[tuple[socket.socket, Path]]:
    """A listening socket and its path, which is gone when the context ends. Without a path it is
    where clients look for it. Raises OSError with a text for the operator."""
    if path is not None and len(os.fsencode(path)) > LONGEST:
        raise OSError(f"{path}: too long for a socket, which may have {LONGEST} octets")
    if path is None:
        path = _own_directory() / f"admin-{os.getpid()}.sock"
        for other in _sockets(path.parent):
            if _is_left_over(other):
                other.unlink(missing_ok=True)
    elif path.is_socket() and _try(path) is not False:
        raise OSError(f"{path}: another server listens there")
    elif (path.exists() or path.is_symlink()) and not _is_left_over(path):
        raise OSError(f"{path}: exists, and is not a socket that a server has left behind")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _bind(sock, path)
        made = path.lstat()
        try:
            yield sock, path
        finally:
            with suppress(OSError):
                if path.lstat().st_ino == made.st_ino:  # it may be another's by now
                    path.unlink()


def _bind(sock: socket.socket, path: Path) -> None:
    """It gets its name when it listens and has its mode: before that it is where nobody else may
    go. The umask would do as well, but it is that of all threads."""
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as private:
            made = Path(private, "s")
            sock.bind(str(made))
            made.chmod(0o600)
            sock.listen(BACKLOG)
            made.rename(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be the admin socket: {error.strerror or error}") from error


def _own_directory() -> Path:
    """Found or made."""
    why = ""
    for directory in _candidates():
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            if directory.lstat().st_uid == os.geteuid() and _is_safe(directory):
                return directory
            why = f"{directory}: belongs to somebody else, or others may write there"
        except OSError as error:
            why = f"{directory}: {error.strerror or error}"
    raise OSError(f"there is no place for the admin socket ({why})")


def _candidates() -> list[Path]:
    """The directories for a server of this user, the best first."""
    found = []
    if made := os.environ.get("RUNTIME_DIRECTORY"):
        found.append(Path(made.split(":")[0]))
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime, NAME))
    if os.geteuid() == 0:
        found.append(RUN / NAME)
    temporary = Path(tempfile.gettempdir())
    return [*found, temporary / NAME, temporary / f"{NAME}-{os.geteuid()}"]


# -- both --


def _is_safe(directory: Path) -> bool:
    """Whether it is a directory where nobody but its owner may write."""
    try:
        mode = directory.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and not mode & 0o022


def _sockets(directory: Path) -> list[Path]:
    try:
        return sorted(directory.glob("admin-*.sock"))
    except OSError:
        return []


def _try(path: Path) -> bool | None:
    """Whether somebody listens; None if that cannot be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except BlockingIOError:
            return True  # so many are waiting that there is no place in the queue
        except ConnectionRefusedError:
            return False
        except OSError:
            return None
    return True


def _is_left_over(path: Path) -> bool:
    """Whether it is a socket of ours that nobody listens on."""
    try:
        found = path.lstat()
    except OSError:
        return False
    ours = stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()
    return ours and _try(path) is False
