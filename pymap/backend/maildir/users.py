"""The users file: one line ``user:mailbox path:password`` for each user.

Rule 1: the file is read again when it has changed. While it cannot be read, or holds a line that
        is wrong, what was read last goes on to count, and the log says so once.
Rule 2: it is changed by putting a new one in its place, under a lock, so that a reader sees the
        old or the new one and two writers do not undo each other. Comments, order and all other
        lines stay as they are.
Rule 3: a path that is not absolute stays below the base directory, whatever names and symbolic
        links make of it. An absolute one is the administrator's own word.
Rule 4: neither a password nor a line of the file is ever logged.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import logging
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pymap.backend.api import User, UserStore
from pymap.backend.errors import CannotDo, NoPermission, Unavailable

__all__ = ["Entry", "UsersFile"]

log = logging.getLogger("pymap.maildir")

_BOM = b"\xef\xbb\xbf"
_SETTLED_NS = 2_000_000_000
"""A file may change again within one tick of its file system's clock, which `stat` does not show;
no clock ticks slower than this. So long after a change, the file is read each time."""
_LOOK_S = 1.0
"""How old `UsersFile.schemes` may be while clients come."""


class Entry(NamedTuple):
    name: str
    directory: Path
    password: str


class _Line(NamedTuple):
    """A line as it stands there; `number` counts from 1."""

    number: int
    name: str
    path: str
    password: str


class UsersFile(UserStore):
    """The users of a file.

    A mailbox path is relative to `base_dir`, by default where the file is; an empty one is the
    name of the user.
    """

    def __init__(self, path: Path, base_dir: Path | None = None) -> None:
        self.path = path
        self.base_dir = path.parent if base_dir is None else base_dir
        self._lock = threading.Lock()  # over all below
        self._lines: dict[str, _Line] = {}
        self._schemes: frozenset[str] = frozenset()  # of these lines
        self._looked = -math.inf
        self._digest = b""  # of what was read last, good or bad
        self._error: str | None = None  # what is wrong with it
        self._stamp: tuple[int, ...] | None = None  # of the file it was read from, once settled
        self._logged: str | None = None

    def load(self) -> None:
        """Read the file. Raises ValueError, which names the first bad line, or OSError."""
        with self._lock:
            self._read()

    def entry(self, name: str) -> Entry | None:
        """The user of that name; costs a `stat` while the file does not change. Call `load` first,
        or there are no users until the file is good."""
        line = self._current().get(name)
        if line is None:
            return None
        try:
            return Entry(name, self._directory(line), line.password)
        except ValueError as error:  # a link that has been made since the file was read
            log.error("%s, line %d: %s", self.path, line.number, error)
            return None

    async def get(self, name: str) -> User | None:
        entry = await asyncio.to_thread(self.entry, name)
        return None if entry is None else User(name, entry.password)

    async def put(self, user: User) -> None:
        """A user that exists keeps the mailbox path, a new one has it empty. Raises CannotDo for
        what a line cannot hold, roles among it, NoPermission, and Unavailable for a file that has
        to be repaired first."""
        if user.roles:
            raise CannotDo("The users file cannot hold roles")
        await asyncio.to_thread(self._change, user.name, user.password)

    async def delete(self, name: str) -> None:
        """The mail stays. Raises NoPermission and Unavailable."""
        await asyncio.to_thread(self._change, name, None)

    async def names(self) -> AsyncIterator[str]:
        for name in await asyncio.to_thread(self._current):
            yield name

    def schemes(self) -> frozenset[str]:
        """As of the last look at the file. If that was a while ago the next one begins now, in a
        thread, so that whoever comes then is told of the change."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            asyncio.get_running_loop().run_in_executor(None, self._current)
        return self._schemes

    # -- reading --

    def _current(self) -> dict[str, _Line]:
        """The lines, as the file is now. Nobody changes what is returned."""
        with self._lock:
            self._refresh()
            return self._lines

    def _refresh(self) -> None:
        try:
            if self._stamp is None or _stamp(self.path.stat()) != self._stamp:
                if self._read():
                    log.info("%s: read again, %d users", self.path, len(self._lines))
                self._logged = None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError):
                self._stamp = None
            if self._logged != (told := f"{error}{self._digest.hex()}"):
                self._logged = told
                log.error("%s; the users stay as they were", error)

    def _read(self) -> bool:
        """Whether it is another than before. Raises ValueError also if it is the same, and bad."""
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
        digest = hashlib.sha256(content).digest()
        if fresh := digest != self._digest:
            self._digest, self._error = digest, None
            try:
                self._lines = self._parse(content)
                self._schemes = frozenset(
                    User(line.name, line.password).scheme for line in self._lines.values()
                )
            except ValueError as error:
                self._error = str(error)
        settled = time.time_ns() - status.st_ctime_ns > _SETTLED_NS
        self._stamp = _stamp(status) if settled else None
        if self._error is not None:
            raise ValueError(self._error)
        return fresh

    def _parse(self, content: bytes) -> dict[str, _Line]:
        """Raises ValueError, which names the line."""
        lines: dict[str, _Line] = {}
        for number, raw in enumerate(content.removeprefix(_BOM).split(b"\n"), 1):
            try:
                line = _parse_line(number, raw.removesuffix(b"\r"))
                if line is None:
                    continue
                if line.name in lines:
                    raise ValueError(f"the same user as in line {lines[line.name].number}")
                self._directory(line)
            except ValueError as error:
                raise ValueError(f"{self.path}, line {number}: {error}") from None
            lines[line.name] = line
        return lines

    def _directory(self, line: _Line) -> Path:
        """Where the user's mail is. Raises ValueError for what leads out of the base directory."""
        if line.path.startswith("/"):
            return Path(line.path)
        if line.name in (".", "..") or "/" in line.name:
            raise ValueError("a user of this name needs an absolute mailbox path")
        base = Path(os.path.realpath(self.base_dir))
        found = Path(os.path.realpath(base / (line.path or line.name)))
        if found == base or not found.is_relative_to(base):
            raise ValueError("the mailbox path is not below the base directory")
        return found

    # -- writing --

    def _change(self, name: str, password: str | None) -> None:
        """Set a password, or remove the user."""
        # Through a link, or the rename would replace the link.
        path = Path(os.path.realpath(self.path))
        try:
            with _locked(path.parent) as directory:
                # For writing, so that a file that is read-only stays as it is.
                with path.open("r+b") as file:
                    status = os.fstat(file.fileno())
                    content = file.read()
                changed = self._changed(content, name, password)
                if changed != content:
                    _replace(path, changed, status)
                    os.fsync(directory)
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno == errno.EROFS:
                raise NoPermission("The users cannot be changed here") from error
            log.error("%s: cannot be changed: %s", self.path, error)
            raise Unavailable("The users cannot be changed now") from error
        self._current()  # for `schemes`

    def _changed(self, content: bytes, name: str, password: str | None) -> bytes:
        try:
            known = self._parse(content).get(name)
        except ValueError as error:
            log.error("%s; no user is changed", error)
            raise Unavailable("The users file has to be repaired first") from error
        bom, end = _BOM if content.startswith(_BOM) else b"", b""
        lines = content.removeprefix(bom).split(b"\n")
        if password is None:
            if known is not None:
                del lines[known.number - 1]
            return bom + b"\n".join(lines)
        made = self._line(name, known.path if known else "", password)
        if known is not None:
            end = b"\r" if lines[known.number - 1].endswith(b"\r") else b""
            lines[known.number - 1] = made + end
        else:
            end = b"\r" if lines[0].endswith(b"\r") else b""
            if lines[-1]:  # the last line has no end
                lines[-1] += end
                lines.append(b"")
            lines[-1:] = [made + end, b""]
        return bom + b"\n".join(lines)

    def _line(self, name: str, path: str, password: str) -> bytes:
        """Raises CannotDo unless it would be read as it is meant."""
        with suppress(ValueError):  # UnicodeEncodeError is one
            raw = f"{name}:{path}:{password}".encode()
            if self._parse(raw) == {name: _Line(1, name, path, password)}:
                return raw
        raise CannotDo("The users file cannot hold this name or password")


def _parse_line(number: int, raw: bytes) -> _Line | None:
    """None for a comment or a blank line. Raises ValueError."""
    if not raw.strip() or raw.startswith(b"#"):
        return None
    if b"\0" in raw:
        raise ValueError("holds NUL")
    try:
        fields = raw.decode("utf-8").split(":", 2)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if len(fields) < 3 or not fields[0]:
        raise ValueError("expected user:mailbox path:password")
    name, path, password = fields
    if not password:
        raise ValueError("the password is empty")
    return _Line(number, name, path, password)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """What changes with the file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """The directory's file descriptor, locked against everyone who does the same. The directory,
    because the file is another one after each change, and because nothing is left behind."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes, old: os.stat_result) -> None:
    """Put a new file in the place of the old one, for the same people to read and write. The lock
    is held, so a file that is in the way was left by someone who was killed."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            mode = old.st_mode & 0o777
            try:
                os.fchown(file.fileno(), -1, old.st_gid)
            except PermissionError:
                mode &= ~0o070  # they were meant for another group
            with suppress(PermissionError):
                os.fchown(file.fileno(), old.st_uid, -1)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
