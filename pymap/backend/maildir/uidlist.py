"""`dovecot-uidlist`: which UID each message file has.

Seen of Dovecot 2.3.19:

Rule 1: the first line is "3 V<UIDVALIDITY> N<UIDNEXT> G<mailbox GUID>", then perhaps fields of
        other letters, which Dovecot keeps. N is written only when the file is made anew: the next
        UID is that, or above the last line.
Rule 2: a line is "<uid> [<letter><value> ...] :<name without info>", ascending by UID. A copy
        within a mailbox has a new name and "G<name of the first>": what the GUID of a message is.
        A copy in another mailbox keeps its name. Dovecot keeps letters that it does not know.
Rule 3: under the lock, lines are appended (and synced) after their files are in place. A line
        without a file is no message; Dovecot may show it as one without flags until it next
        reads the directory, so the order matters.
Rule 4: an expunge leaves its line. When a quarter of the lines have no file, or one is damaged,
        the file is made anew beside and renamed over.
Rule 5: a line without its line end is not there yet. Dovecot would append to it.
Rule 6: version 1 is "1 <UIDVALIDITY> <UIDNEXT>", then "<uid> <name>". Dovecot reads it and writes
        version 3.

Reading takes no lock. What is there is at any time a file as it was once, and perhaps the
beginning of a line.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from pymap.backend.errors import InUse, LimitReached
from pymap.backend.maildir.dotlock import dotlock
from pymap.backend.maildir.replace import replace_file

__all__ = ["Entry", "Header", "Read", "UidList"]

log = logging.getLogger("pymap.maildir")

MAX_UID = 0xFFFFFFFF  # RFC 9051 9, nz-number
_GUID = re.compile("[0-9a-f]{32}")


class Header(NamedTuple):
    """`guid` is 32 hex digits, empty if the file has none."""

    uid_validity: int
    uid_next: int
    guid: str


class Entry(NamedTuple):
    """`base` is the name of the file up to its first colon; `extensions` the text between the UID
    and " :", such as "W1234 Gabcdef", mostly empty."""

    uid: int
    base: str
    extensions: str


class Read(NamedTuple):
    """What a refresh found. `whole`: `entries` are all that there are; else those appended since.
    `damaged`: there are lines in the file that had to be passed over, or its header."""

    whole: bool
    entries: list[Entry]
    damaged: bool


class _State(NamedTuple):
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> _State:
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


ABSENT = _State(0, 0, 0)


class UidList:
    """The file of one mailbox, and how far it has been read. Not for two threads at once."""

    header: Header | None
    """None when there is no file, or no header that can be read. `uid_next` is above every UID
    that was ever seen in the file."""

    def __init__(self, directory: Path) -> None:
        self._path = os.path.join(directory, "dovecot-uidlist")
        self._forget()

    def _forget(self) -> None:
        self.header = None
        self._state: _State | None = None
        self._end = 0  # octets up to the end of the last whole line
        self._first = self._last = b""  # the first and the last whole line
        self._version = 3
        self._fields = ""  # of the header, those that we do not know
        self._bases: set[str] = set()
        self._last_uid = self._highest_uid = 0  # in good lines, in any line
        self._bad = 0  # lines passed over

    def lock(self) -> AbstractContextManager[None]:
        """Keeps out everybody else who changes the mailbox, Dovecot too. Raises InUse, OSError."""
        return dotlock(Path(self._path))

    def holds(self, base: str) -> bool:
        """Whether a line has that name, be it of a message that is gone."""
        return base in self._bases

    # -- reading --

    def refresh(self) -> Read | None:
        """What is new; None if the file is as it was when last read: one stat.

        A file of 100,000 lines is read in 0.1 s. A file that vanished is read as an empty one.
        """
        try:
            if _State.of(os.stat(self._path)) == self._state:
                return None
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._state == ABSENT:
                return None
            self._forget()
            self._state = ABSENT
            return Read(True, [], False)
        try:
            return self._read(fd)
        finally:
            os.close(fd)

    def _read(self, fd: int) -> Read | None:
        state = _State.of(os.fstat(fd))
        whole = not self._continues(fd, state)
        if whole:
            self._forget()
        # Not beyond the size of that moment: so what is appended meanwhile is news next time.
        octets = _pread_all(fd, state.size - self._end, self._end)
        octets = octets[: octets.rfind(b"\n") + 1]
        self._state = state
        bad = self._bad
        entries = self._parse(octets)
        if self.header is None:
            log.warning("%s: its header makes no sense, nor do %d lines", self._path, self._bad)
        elif self._bad > bad:
            log.warning("%s: %d lines make no sense, passed over", self._path, self._bad)
        elif not whole and not entries:
            return None  # half a line more, or touched
        return Read(whole, entries, self._damaged)

    @property
    def _damaged(self) -> bool:
        return self.header is None or self._bad > 0

    def _continues(self, fd: int, state: _State) -> bool:
        """Whether this is the file we know, or that with lines appended.

        The number of an inode is given out again, so what we knew must stand where it stood.
        """
        if self._state is None or state.inode != self._state.inode or state.size < self._end:
            return False
        return (
            self.header is not None
            and os.pread(fd, len(self._first), 0) == self._first
            and os.pread(fd, len(self._last), self._end - len(self._last)) == self._last
        )

    def _parse(self, octets: bytes) -> list[Entry]:
        """The entries of some whole lines that stand at `_end`."""
        if not octets:
            return []
        body = octets
        if not self._end:
            self._first = octets[: octets.index(b"\n") + 1]
            self._parse_header(os.fsdecode(self._first[:-1]))
            body = octets[len(self._first) :]
        self._end += len(octets)
        self._last = octets[octets.rfind(b"\n", 0, -1) + 1 :]
        entries = self._parse_lines(os.fsdecode(body))
        if self.header and self.header.uid_next <= self._highest_uid:
            self.header = self.header._replace(uid_next=self._highest_uid + 1)
        return entries

    def _parse_header(self, line: str) -> None:
        version, _, rest = line.partition(" ")
        fields = rest.split(" ")
        unknown = ""
        if version == "1" and len(fields) == 2:
            validity, uid_next = fields
            guid = ""
        elif version == "3":
            named = {field[0]: field[1:] for field in fields if field}
            validity, uid_next, guid = (named.pop(letter, "") for letter in "VNG")
            unknown = "".join(f" {letter}{value}" for letter, value in named.items())
            if not _GUID.fullmatch(guid):
                guid = ""
        else:
            return
        header = Header(_number(validity), _number(uid_next), guid)
        if 0 < header.uid_validity <= MAX_UID and 0 < header.uid_next <= MAX_UID + 1:
            self.header, self._version, self._fields = header, int(version), unknown

    def _parse_lines(self, text: str) -> list[Entry]:
        entries: list[Entry] = []
        known, last, highest, bad = self._bases, self._last_uid, self._highest_uid, self._bad
        separator = " " if self._version == 1 else " :"
        again = False
        new = tuple.__new__  # Entry(...) by a shorter way: a seventh of the time
        for line in text.split("\n")[:-1]:
            head, _, base = line.partition(separator)
            digits, _, extensions = head.partition(" ")
            try:
                uid = int(digits)
            except ValueError:
                bad += 1
                continue
            if last < uid <= MAX_UID and base and ":" not in base:
                again = again or base in known
                known.add(base)
                entries.append(new(Entry, (uid, base, extensions)))
                last = uid
            else:
                bad += 1
                if highest < uid <= MAX_UID and base:  # somebody may have read it
                    highest = uid
        self._last_uid, self._highest_uid, self._bad = last, max(last, highest), bad
        if again:
            # A message that Dovecot has moved away and back has its name, and the later UID.
            entries = list({entry.base: entry for entry in entries}.values())
            entries.sort(key=attrgetter("uid"))
        return entries

    # -- writing, with the lock held and after a refresh --

    def append(self, entries: Sequence[Entry]) -> None:
        """Add lines and sync them. Their UIDs ascend from `header.uid_next` or above, and their
        files are in place (rule 3). The next refresh does not tell of them. A file that is damaged,
        or whose last line is half-written, is made anew on the way.

        When it fails, what could be written in whole lines stays and the next refresh tells of
        it, so that no UID is ever used again. Raises OSError, and InUse when the file is not as
        it was last read, which needs somebody who does not respect the lock.
        """
        if self.header is None or self._state is None:
            raise ValueError("a file without a header cannot be appended to, only be written")
        _check(entries, self.header.uid_next, self._bases)
        if self._bad or self._version == 1 or self._state.size != self._end:
            self._append_anew(entries)
        elif entries:
            self._append_lines(entries)

    def _append_anew(self, entries: Sequence[Entry]) -> None:
        fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._expect(fd)
            self._forget()
            there = self._read(fd)
        finally:
            os.close(fd)
        if there is None or self.header is None:
            raise InUse("The mailbox is in use by another program")  # under our hands
        self.write(self.header, [*there.entries, *entries])

    def _append_lines(self, entries: Sequence[Entry]) -> None:
        assert self.header
        octets = os.fsencode("".join(map(_line, entries)))
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._expect(fd)
            written = 0
            try:
                while written < len(octets):
                    written += os.write(fd, octets[written:])
                os.fdatasync(fd)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, self._end + octets.rfind(b"\n", 0, written) + 1)
                raise
            self._state = _State.of(os.fstat(fd))
        finally:
            os.close(fd)
        self._end += len(octets)
        self._last = octets[octets.rfind(b"\n", 0, -1) + 1 :]
        self._bases.update(entry.base for entry in entries)
        self._last_uid = self._highest_uid = entries[-1].uid
        self.header = self.header._replace(uid_next=entries[-1].uid + 1)

    def _expect(self, fd: int) -> None:
        """Raises InUse unless the open file is the one that was last read, and as it was."""
        if _State.of(os.fstat(fd)) != self._state:
            log.warning("%s: was changed by somebody while we held its lock", self._path)
            raise InUse("The mailbox is in use by another program")

    def write(self, header: Header, entries: Iterable[Entry]) -> None:
        """Make the file anew, with these entries only, and sync it. `header.uid_next` is raised
        above them, and to what it was in this UIDVALIDITY. The next refresh does not tell of it.

        Fields of the header that we do not know are kept. The file gets the mode and the group of
        the directory. Raises OSError, and then the file is as it was.
        """
        entries = list(entries)
        _check(entries, 1, ())
        highest = entries[-1].uid if entries else 0
        uid_next = max(header.uid_next, highest + 1)
        if self.header and self.header.uid_validity == header.uid_validity:
            uid_next = max(uid_next, self.header.uid_next)
        header = header._replace(uid_next=uid_next)
        guid = f" G{header.guid}" if header.guid else ""
        first = f"3 V{header.uid_validity} N{header.uid_next}{guid}{self._fields}\n"
        octets = os.fsencode(first + "".join(map(_line, entries)))
        made = replace_file(self._path, self._path + ".tmp", octets)

        fields = self._fields
        self._forget()
        self.header = header
        self._state = _State.of(made)
        self._fields = fields
        self._end = len(octets)
        self._first = os.fsencode(first)
        self._last = octets[octets.rfind(b"\n", 0, -1) + 1 :]
        self._bases = {entry.base for entry in entries}
        self._last_uid = highest
        self._highest_uid = header.uid_next - 1


def _line(entry: Entry) -> str:
    uid, base, extensions = entry
    return f"{uid} {extensions} :{base}\n" if extensions else f"{uid} :{base}\n"


def _check(entries: Sequence[Entry], lowest: int, known: Collection[str]) -> None:
    """Raises ValueError for what could not be read back, LimitReached when no UID is left."""
    for uid, base, extensions in entries:
        if uid < lowest:
            raise ValueError(f"UID {uid}, not above those before")
        if uid > MAX_UID:
            raise LimitReached("The mailbox has no more UIDs")
        lowest = uid + 1
        if not base or base in known or ":" in base or "\n" in base:
            raise ValueError(f"the name {base!r} cannot be written, or is there")
        if extensions and (" :" in f" {extensions}" or "\n" in extensions):
            raise ValueError(f"the text {extensions!r} cannot be written")
    if len({entry.base for entry in entries}) < len(entries):
        raise ValueError("a name twice")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0


def _pread_all(fd: int, size: int, offset: int) -> bytes:
    """Less than `size` octets only if the file became shorter."""
    parts = []
    while size > 0 and (part := os.pread(fd, size, offset)):
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
