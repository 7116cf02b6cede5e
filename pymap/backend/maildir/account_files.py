"""What is kept once for an account, in its root: subscriptions, special uses, UIDVALIDITY.

`subscriptions` and `dovecot-uidvalidity` are Dovecot's, `pymap-special-use` is ours. Seen of
Dovecot 2.3.19:

Rule 1: `subscriptions` is written anew, renamed into place, under the dotlock of its name. One that
        begins with "V<TAB>2" and an empty line has a tab between levels; any other, an empty one
        included, has the separator of the layout. Each stays as it is; a new one is of version
        2. Names are in modified UTF-7, but what is none is taken as it stands. A dot that is
        part of a level, as in what jane@example.com shares, we write as `DOT`: Dovecot with
        folders .Work.2024 has no such names, and shows it as it stands.
Rule 2: the highest UIDVALIDITY given out is the name of an empty file: `dovecot-uidvalidity.%08x`.
        Who renames it to a higher one has the new value; whoever comes too late finds no file
        of the old name and looks again. `dovecot-uidvalidity` has the same eight digits, for
        Dovecot to know which name to try first.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pymap.backend.api import DELIMITER
from pymap.backend.errors import Corrupt, InUse
from pymap.backend.maildir import tree
from pymap.backend.maildir.cached_file import CachedFile
from pymap.backend.maildir.dotlock import dotlock
from pymap.backend.maildir.layout import SUBDIRECTORIES, Layout
from pymap.backend.maildir.replace import replace_file, write_all
from pymap.backend.maildir.tree import read_plain
from pymap.limits import Limits
from pymap.wire import modutf7
from pymap.wire.types import fold_inbox

__all__ = ["SPECIAL_USE", "SUBSCRIPTIONS", "SpecialUses", "Subscriptions", "next_uid_validity"]

log = logging.getLogger("pymap.maildir")

SUBSCRIPTIONS, SPECIAL_USE = "subscriptions", "pymap-special-use"
VERSION_2 = b"V\t2\n\n"
HIGHEST = 0xFFFFFFFF
ATTEMPTS = 1000  # each that fails has let somebody else through

DOT = b"&AC4-"  # in UTF-7, which nobody else writes for what is ASCII

_CONTROL = re.compile("[\x00-\x1f]")
_UID_VALIDITY = re.compile(r"dovecot-uidvalidity\.([0-9a-fA-F]{1,8})")


# -- subscriptions --


class Subscriptions:
    """The names that the user has subscribed to, whether or not they exist, in NFC. Lines that are
    no name here stay in the file."""

    def __init__(self, layout: Layout) -> None:
        self.path = layout.root / SUBSCRIPTIONS
        self._layout = layout
        self._cached = CachedFile(self.path, self._names)

    def read(self) -> frozenset[str]:
        """One stat when nothing has changed. Raises Corrupt, OSError."""
        try:
            return self._cached.read()
        except ValueError as error:
            log.error("%s: %s", self.path, error)
            raise Corrupt("The list of subscriptions is damaged") from error

    def add(self, name: str) -> None:
        """Raises CannotDo for a name that the layout cannot hold, InUse, Corrupt, OSError."""
        # A dot is no obstacle: it may be in the name of another user.
        self._layout.path(name if self._layout.separator == DELIMITER else name.replace(".", "_"))
        self._change(name, add=True)

    def remove(self, name: str) -> None:
        """Raises InUse, Corrupt, OSError."""
        self._change(name, add=False)

    def _change(self, name: str, add: bool) -> None:
        if (name in self.read()) == add:
            return
        with dotlock(self.path):
            octets = self._octets()
            separator = self._separator(octets)
            lines = [line for line in _lines(octets) if self._name(line, separator) != name]
            if add:
                lines.append(separator.join(map(self._raw, name.split(DELIMITER))))
            head = VERSION_2 if separator == b"\t" else b""
            octets = head + b"".join(line + b"\n" for line in lines)
            replace_file(str(self.path), f"{self.path.parent}/pymap-subscriptions.new", octets)

    def _octets(self) -> bytes:
        try:
            return read_plain(self.path)[0]
        except FileNotFoundError:
            return VERSION_2

    def _names(self, octets: bytes) -> frozenset[str]:
        separator = self._separator(octets)
        names = {self._name(line, separator) for line in _lines(octets)}
        return frozenset(name for name in names if name is not None)

    def _separator(self, octets: bytes) -> bytes:
        return b"\t" if octets.startswith(VERSION_2) else self._layout.separator.encode()

    def _raw(self, level: str) -> bytes:
        return modutf7.encode(level).replace(self._layout.separator.encode(), DOT)

    def _name(self, line: bytes, separator: bytes) -> str | None:
        """What Dovecot would take it for, if it can be a name here."""
        # A level that holds the separator of the layout is more than one level to it.
        own = self._layout.separator.encode()
        levels = line.replace(separator, own).split(own)
        try:
            name = DELIMITER.join(map(_level, levels))
        except ValueError:
            return None
        return fold_inbox(unicodedata.normalize("NFC", name))


def _lines(octets: bytes) -> list[bytes]:
    lines = octets.removeprefix(VERSION_2).split(b"\n")
    return [stripped for line in lines if (stripped := line.removesuffix(b"\r"))]


def _level(raw: bytes) -> str:
    raw = raw.replace(DOT, b".")
    try:
        level = modutf7.decode(raw)
    except ValueError:
        level = raw.decode("utf-8")
    # Version 2 writes \1 before a tab or line end that is in a name: no name here has those.
    if not level or DELIMITER in level or _CONTROL.search(level):
        raise ValueError("not a level of a name")
    return level


# -- special uses --


class SpecialUses:
    r"""Attributes such as ``\Sent`` that mailboxes were created with, by name.   RFC 6154 3

    Dovecot has them in its configuration, so this file is ours: JSON, each name with a list. One
    that is damaged is set aside, and logged.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / SPECIAL_USE
        self._cached = CachedFile(self.path, _parse_uses)

    def read(self) -> dict[str, tuple[str, ...]]:
        """One stat when nothing has changed. Raises OSError."""
        try:
            return dict(self._cached.read())
        except ValueError:
            try:
                with tree.lock_tree(self.path.parent):
                    return self._read_or_set_aside()
            except (OSError, InUse) as error:
                log.warning("%s: damaged, and not set aside: %s", self.path, error)
                return {}

    def set(self, name: str, uses: Iterable[str]) -> None:
        """Raises InUse, OSError."""
        with self._changing() as found:
            found[name] = tuple(uses)

    def remove(self, name: str) -> None:
        """Raises InUse, OSError."""
        with self._changing() as found:
            found.pop(name, None)

    def rename(self, name: str, new_name: str) -> None:
        """With all inferior names. Raises InUse, OSError."""
        below = name + DELIMITER
        with self._changing() as found:
            moved = [old for old in found if old == name or old.startswith(below)]
            uses = [found.pop(old) for old in moved]
            found.update(
                (new_name + old[len(name) :], u) for old, u in zip(moved, uses, strict=True)
            )

    @contextmanager
    def _changing(self) -> Iterator[dict[str, tuple[str, ...]]]:
        with tree.lock_tree(self.path.parent):
            before = self._read_or_set_aside()
            after = dict(before)
            yield after
            after = {name: uses for name, uses in after.items() if uses}
            if after != before:
                octets = json.dumps(after, ensure_ascii=False, indent=1).encode() + b"\n"
                replace_file(str(self.path), f"{self.path}.new", octets)

    def _read_or_set_aside(self) -> dict[str, tuple[str, ...]]:
        try:
            return self._cached.read()
        except ValueError as error:
            log.error("%s: damaged, set aside: %s", self.path, error)
            os.replace(self.path, f"{self.path}.damaged")
            return {}


def _parse_uses(octets: bytes) -> dict[str, tuple[str, ...]]:
    try:
        found = json.loads(octets or b"{}")
        if not isinstance(found, dict):
            raise ValueError("not an object")
        for uses in found.values():
            if not isinstance(uses, list) or not all(isinstance(use, str) for use in uses):
                raise ValueError("not a list of attributes")
        return {name: tuple(uses) for name, uses in found.items()}
    except RecursionError as error:
        raise ValueError("nested too deep") from error


# -- UIDVALIDITY --


def next_uid_validity(root: Path, floor: int = 0) -> int:
    """A UIDVALIDITY above `floor` and all that were given out in this account, by whomever, and not
    before the clock; durable. Raises InUse, Corrupt when there is none left, OSError."""
    with tree.lock_tree(root):
        given = root / "dovecot-uidvalidity"
        for _ in range(ATTEMPTS):
            value = _try_next(root, given, floor)
            if value is not None:
                _write_given(given, value)
                return value
    raise InUse("Too many are making mailboxes")


def _try_next(root: Path, given: Path, floor: int) -> int | None:
    """None if Dovecot was quicker."""
    files = _uid_validities(root)
    known = max([floor, _first_given(given), *files])
    if not files:
        known = max(known, _highest_in_use(root))
    value = max(known + 1, int(time.time()))
    if value > HIGHEST:
        raise Corrupt("No UIDVALIDITY is left")
    new = f"{given}.{value:08x}"
    try:
        if files:
            os.rename(root / files[max(files)], new)
        else:
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    except (FileNotFoundError, FileExistsError):
        return None
    # Without a file to rename two may make one; and while it is renamed it may be in no listing.
    # Who then finds a higher one than their own has lost.
    now = _uid_validities(root)
    highest = max(now, default=0)
    for lower in now.keys() - {highest}:
        with suppress(FileNotFoundError):
            os.unlink(root / now[lower])
    return value if highest == value else None


def _uid_validities(root: Path) -> dict[int, str]:
    """The files that bear one: their values and names."""
    found = {}
    for name in os.listdir(root):
        if match := _UID_VALIDITY.fullmatch(name):
            found[int(match[1], 16)] = name
    return found


def _first_given(path: Path) -> int:
    try:
        return int(read_plain(path, 8)[0], 16)
    except (FileNotFoundError, ValueError):
        return 0


def _write_given(path: Path, value: int) -> None:
    """In place, as Dovecot does: a value that is behind only costs it a listing."""
    mode = os.stat(path.parent).st_mode & 0o666
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        write_all(fd, b"%08x" % value)
        os.fsync(fd)
    finally:
        os.close(fd)
    tree.sync(path.parent)


def _highest_in_use(root: Path) -> int:
    """Of all lists of UIDs in the account, whichever its layout; 0 if there are none."""
    highest = 0
    limits = Limits()
    left = limits.mailboxes * 10
    waiting = [(root, 0)]
    while waiting and left > 0:
        left -= 1
        directory, depth = waiting.pop()
        with suppress(FileNotFoundError, NotADirectoryError, ValueError, PermissionError):
            highest = max(highest, _uid_validity_of(directory / "dovecot-uidlist"))
        if depth < limits.mailbox_levels:
            with suppress(FileNotFoundError, PermissionError), os.scandir(directory) as entries:
                waiting += [
                    (directory / entry.name, depth + 1)
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and entry.name not in SUBDIRECTORIES
                ]
    return highest


def _uid_validity_of(path: Path) -> int:
    """Of the first line, "3 V<number> N<number> ..."; version 1 was "1 <number> <number>". Raises
    ValueError, OSError."""
    octets, _ = read_plain(path, 1000)
    version, *fields = octets.partition(b"\n")[0].split()
    if version == b"1":
        return int(fields[0]) if fields else 0
    return next((int(field[1:]) for field in fields if field.startswith(b"V")), 0)
