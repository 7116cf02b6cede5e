"""The index beside a Maildir: a snapshot of its columns, and a log of the steps since.

    pymap-index   the columns as they stand in memory, with a checksum; replaced as a whole
    pymap-log     one record a step, each with a checksum; appended to, and locked (flock) by
                  whoever changes the mailbox, in any process

Both can be deleted at any time; the files of the mailbox say the rest. A record is there when its
step is visible to anyone; it is written through to the disk only if it holds what no file
of the Maildir does. Measured with 100,000 messages: the snapshot loads in 11 ms where SQLite takes
122; a record costs 2 us to write, and other processes follow by reading on.

A snapshot has a generation, and the log names the snapshot that it follows: a log that belongs to
another one is not read. So a crash between the two replacements does no harm.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

from pymap.backend.errors import InUse
from pymap.backend.index import Addition, ChangeLog
from pymap.backend.maildir.replace import write_all
from pymap.backend.maildir.state import State, Step
from pymap.wire.types import Flag, UidSet

__all__ = ["Intent", "Journal", "Loaded", "Marks"]

log = logging.getLogger("pymap.maildir")

INDEX, LOG = "pymap-index", "pymap-log"
_MAGIC = b"pymap-index 1\n"
_HEAD = Struct(">IQI")  # octets of the description and of the columns; checksum of both
_LOG_MAGIC = "pymap-log 1"
_RECORD = Struct(">II")  # octets and checksum of a record
_COLUMNS = "IQIQqhq"  # uids, modseqs, flag sets, sizes, dates, zones, save dates
PATIENCE_S = 30.0
CHECKPOINT_AT = 256 * 1024  # octets of log at least until a new snapshot is worth it

Marks = tuple[int, ...]
"""When the directories were last changed, as the file system says; see `MailboxFiles.marks`."""
Intent = list[tuple[str, str]]
"""Files about to be renamed together, from and to, relative to the mailbox."""


class Loaded(NamedTuple):
    state: State
    uid_validity: int
    guid: str
    marks: Marks | None
    """The directories as they stood when all that is in them was known; None if nobody can say."""


def _boot_id() -> str:
    """Another one after each start of the machine; "" if the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


BOOT_ID = _boot_id()


class Journal:
    """The two files of one mailbox, for one process. Blocking; one thread at a time."""

    def __init__(self, directory: Path) -> None:
        self._index_path = str(directory / INDEX)
        self._log_path = str(directory / LOG)
        self._fd = -1
        self._at = 0  # what of the log has been read or written
        self._generation = ""
        self._index_size = 0
        self._known_marks: Marks | None = None
        self._cut = False  # whether something at the end could not be read
        self.readonly = False
        self.intent: Intent | None = None
        """Renames that a process announced and did not complete before it died."""

    def renamed(self, directory: Path) -> None:
        """The directory has another name now; the open log is the same."""
        self._index_path, self._log_path = str(directory / INDEX), str(directory / LOG)

    # -- the lock --

    def lock(self) -> None:
        """Wait until no other process changes the mailbox. Raises OSError, InUse."""
        while True:
            if self._fd < 0:
                self._open()
                if self._fd < 0:
                    return  # nobody can change anything
            _flock(self._fd)
            try:
                if os.stat(self._log_path).st_ino == os.fstat(self._fd).st_ino:
                    return
            except FileNotFoundError:
                pass
            # Replaced meanwhile by a newer one, or deleted. What is left to read in this one,
            # `tail` reads before it goes on.
            if self._generation:
                return
            self.close()

    def unlock(self) -> None:
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _open(self) -> None:
        self.readonly = False
        try:
            self._fd = os.open(
                self._log_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            self.readonly = True
            with contextlib.suppress(FileNotFoundError, PermissionError):
                self._fd = os.open(self._log_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    # -- reading --

    @property
    def news(self) -> bool:
        """Whether another process has written since."""
        if self._fd < 0:
            return False
        try:
            status = os.fstat(self._fd)
        except OSError:
            return True  # closed at this moment by a thread that follows to a newer log
        return status.st_nlink == 0 or (self._at >= 0 and status.st_size != self._at)

    def load(self, uid_validity: int | None) -> Loaded | None:
        """What the files say, under the lock; None if that is of no use: missing, damaged, or of
        another `uid_validity` (None takes any)."""
        self.intent, self._generation = None, ""
        generation, boot_id = self._read_log_header()
        steps = self._read_on() if self._at >= 0 and self._fd >= 0 else []
        state, meta = self._read_index()
        if state is None or (uid_validity is not None and meta["uid_validity"] != uid_validity):
            self._at = -1
            return None
        own, _, previous = meta["generation"].partition("-")
        written = generation.partition("-")[0]
        marks: Marks | None = tuple(meta["marks"]) if meta["marks"] else None
        if written and written in (own, previous):
            for step in steps:
                # Of a log that the snapshot was made of, what was written since: whoever made the
                # snapshot died before he could replace the log.
                if written == own or step.modseq > state.index.modseq:
                    state.take(step)
            if self._known_marks is not None:
                marks = self._known_marks
            elif self._at > len(self._header(generation, boot_id)):
                marks = None
        if written != own or boot_id != BOOT_ID:
            self._at = -1  # not ours: `checkpoint` begins a new one
        if boot_id != BOOT_ID:
            # The machine was started anew and what was not written through is lost; a modseq
            # among it may have been told, and so may messages that came and went.
            index = state.index
            index.follow(state.next_modseq())
            index.changed_log.floor = index.vanished_log.floor = index.modseq
        self._generation = meta["generation"]
        return Loaded(state, meta["uid_validity"], meta["guid"], marks)

    def distrust(self) -> None:
        """Something that has happened could not be logged: nothing is, until a snapshot has it."""
        self._at, self._generation = -1, ""

    @property
    def usable(self) -> bool:
        """Whether steps can be appended; if not, a checkpoint is due."""
        return not self.readonly and self._at > 0 and bool(self._generation)

    def _read_index(self) -> tuple[State | None, dict[str, Any]]:
        try:
            fd = os.open(self._index_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                octets = file.read()
        except FileNotFoundError:
            return None, {}
        self._index_size = len(octets)
        try:
            return _unpack(octets)
        except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            log.error("%s: damaged, made anew from the mailbox: %s", self._index_path, error)
            with contextlib.suppress(OSError):
                os.replace(self._index_path, self._index_path + ".damaged")
            return None, {}

    @staticmethod
    def _header(generation: str, boot_id: str) -> bytes:
        return f"{_LOG_MAGIC} {generation} {boot_id or '-'}\n".encode("ascii")

    def _read_log_header(self) -> tuple[str, str]:
        """The generation and boot id of the log; sets where its records begin."""
        self._known_marks = None
        if self._fd < 0:
            return "", ""
        line, newline, _ = os.pread(self._fd, 200, 0).partition(b"\n")
        words = line.decode("ascii", "replace").split(" ")
        if not newline or len(words) != 4 or " ".join(words[:2]) != _LOG_MAGIC:
            self._at = -1
            return "", ""
        self._at = len(line) + 1
        return words[2], "" if words[3] == "-" else words[3]

    def tail(self) -> list[Step] | None:
        """The steps that other processes have logged since, under the lock. None if the log does
        not tell any more: then everything has to be loaded again."""
        if not self.news:
            return []
        if os.fstat(self._fd).st_size < self._at or not self._generation:
            return None
        steps = self._read_on() if self._at >= 0 else []
        while os.fstat(self._fd).st_nlink == 0 or not self._is_current():
            # The log that followed begins where this one ended, if it is the next one.
            before = self._generation
            self.close()
            self._open()
            if self._fd < 0:
                return None
            _flock(self._fd)
            if not self._is_current():
                continue
            generation, _ = self._read_log_header()
            _, _, previous = generation.partition("-")
            if not generation or previous != before.partition("-")[0]:
                return None
            self._generation = generation
            steps += self._read_on()
        return None if self._cut else steps

    def _is_current(self) -> bool:
        try:
            return os.stat(self._log_path).st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    def _read_on(self) -> list[Step]:
        """Records up to the end; what a crash left half-written there is cut off."""
        self._cut = False
        size = os.fstat(self._fd).st_size
        octets = memoryview(_read(self._fd, self._at, size - self._at))
        steps: list[Step] = []
        at = 0
        while at + _RECORD.size <= len(octets):
            length, checksum = _RECORD.unpack_from(octets, at)
            payload = octets[at + _RECORD.size : at + _RECORD.size + length]
            if len(payload) != length or crc32(payload) != checksum:
                break
            try:
                record = json.loads(bytes(payload))
                self._known_marks = tuple(record["k"]) if "k" in record else None
                if "i" in record:
                    self.intent = [(a, b) for a, b in record["i"]] or None
                elif "k" not in record:
                    step = _decode(record)
                    steps.append(step)
                    if step.added is not None:
                        self.intent = None
            except (ValueError, KeyError, TypeError):
                break
            at += _RECORD.size + length
        if at < len(octets):
            log.warning(
                "%s: %d octets at the end are not whole records and are cut off",
                self._log_path,
                len(octets) - at,
            )
            self._cut = True
            if not self.readonly:
                os.ftruncate(self._fd, self._at + at)
        self._at += at
        return steps

    # -- writing, under the lock --

    def append(self, steps: Sequence[Step], durable: bool = False) -> None:
        """Log what has been done. Raises OSError, then nothing was logged."""
        self._write([_encode(part) for step in steps for part in step.slices()], durable)

    def announce(self, intent: Intent) -> None:
        """Log what is about to be done, durably; an empty list takes it back."""
        self._write([{"i": intent}], durable=True)

    def mark(self, marks: Marks) -> None:
        """Log that at these marks everything in the directories was known."""
        if marks != self._known_marks:
            self._write([{"k": marks}], durable=False)
            self._known_marks = marks

    def _write(self, records: Sequence[dict[str, Any]], durable: bool) -> None:
        octets = bytearray()
        for record in records:
            payload = json.dumps(record, separators=(",", ":")).encode("ascii")
            octets += _RECORD.pack(len(payload), crc32(payload)) + payload
        try:
            written = 0
            while written < len(octets):
                written += os.pwrite(self._fd, octets[written:], self._at + written)
            if durable or not BOOT_ID:
                os.fdatasync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._at)
            raise
        self._at += len(octets)
        self._known_marks = None

    @property
    def long(self) -> bool:
        """Whether a new snapshot is worth it."""
        return self._at > max(CHECKPOINT_AT, self._index_size // 4)

    def checkpoint(self, state: State, uid_validity: int, guid: str, marks: Marks | None) -> None:
        """Write a snapshot and begin a new log, durably."""
        generation = f"{token_hex(8)}-{self._generation.partition('-')[0]}"
        octets = _pack(state, {
            "generation": generation,
            "uid_validity": uid_validity,
            "guid": guid,
            "marks": marks,
        })  # fmt: skip
        os.close(_replace(self._index_path, octets))
        header = self._header(generation, BOOT_ID)
        new = _replace(self._log_path, header)
        # Whoever waits for the lock of the old one finds that there is a new one.
        self.close()
        self._fd, self._at = new, len(header)
        self._generation, self._index_size = generation, len(octets)
        self._known_marks = None


def _flock(fd: int) -> None:
    """Raises InUse if another process holds the lock all the time."""
    deadline, pause = time.monotonic() + PATIENCE_S, 0.0002
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InUse("The mailbox is in use by another process") from None
        time.sleep(pause)
        pause = min(2 * pause, 0.01)


def _replace(path: str, octets: bytes | bytearray) -> int:
    """Make a file anew, durably; returns its descriptor. It is locked before others can open it."""
    temporary = f"{path}.{os.getpid()}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, how, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        write_all(fd, octets)
        os.fsync(fd)
        os.replace(temporary, path)
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except BaseException:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return fd


def _read(fd: int, at: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(fd, min(length, 1 << 20), at)
        if not part:
            break
        parts.append(part)
        at += len(part)
        length -= len(part)
    return b"".join(parts)


# -- the form of a record --


def _flags_text(flags: frozenset[Flag]) -> str:
    return " ".join(sorted(flag.name for flag in flags))


def _flags(text: str) -> frozenset[Flag]:
    return frozenset(map(Flag.of, text.split()))


def _encode(step: Step) -> dict[str, Any]:
    record: dict[str, Any] = {"m": step.modseq, "n": step.uid_next}
    if step.added is not None:
        a = step.added
        record["a"] = {
            "u": str(UidSet.from_sorted(a.uids)), "f": a.flags.tolist(),
            "t": [_flags_text(flags) for flags in a.sets], "s": a.sizes.tolist(),
            "d": a.dates.tolist(), "z": a.zones.tolist(), "v": a.saved.tolist(),
            "e": a.email_ids, "p": list(step.names),
        }  # fmt: skip
    if step.flagged:
        record["f"] = [(str(uids), _flags_text(flags), info) for uids, flags, info in step.flagged]
    if step.vanished:
        record["x"] = str(step.vanished)
    if step.recent_from is not None:
        record["r"] = step.recent_from
    if step.letters is not None:
        record["l"] = list(step.letters)
    return record


def _decode(record: dict[str, Any]) -> Step:
    step = Step(
        record["m"], record["n"], recent_from=record.get("r"), letters=record.get("l")
    )  # fmt: skip
    if a := record.get("a"):
        step.added = Addition(
            array("I", UidSet.parse(a["u"])), array("I", a["f"]), [_flags(t) for t in a["t"]],
            array("Q", a["s"]), array("q", a["d"]), array("h", a["z"]), array("q", a["v"]), a["e"],
        )  # fmt: skip
        step.names = a["p"]
        if len({len(column) for column in (*step.added[:2], *step.added[3:], step.names)}) != 1:
            raise ValueError("columns of different lengths")
    step.flagged = [(UidSet.parse(u), _flags(t), info) for u, t, info in record.get("f", ())]
    step.vanished = UidSet.parse(record.get("x", ""))
    return step


# -- the form of a snapshot --


def _pack(state: State, meta: dict[str, Any]) -> bytes:
    index = state.index
    names = map(state.names.__getitem__, index.uids)
    meta |= {
        "byteorder": sys.byteorder,
        "count": len(index.uids),
        "uid_next": index.uid_next,
        "modseq": index.modseq,
        "recent_from": state.recent_from,
        "letters": list(state.letters),
        "keywords": [flag.name for flag in index.flags.keywords.values()],
        "sets": [_flags_text(flags) for flags in index.flags.sets],
        "vanished": [(modseq, str(uids)) for modseq, uids in index.vanished_log.entries()],
        "vanished_floor": index.vanished_log.floor,
    }
    described = json.dumps(meta, separators=(",", ":")).encode("ascii")
    columns = (
        index.uids, index.modseqs, index.flagsets, index.sizes, index.dates, index.zones,
        index.saved,
    )  # fmt: skip
    body = b"".join([
        *(column.tobytes() for column in columns),
        "\n".join(index.email_ids).encode("ascii"),
        b"\0",
        "\n".join(names).encode("utf-8", "surrogateescape"),
    ])  # fmt: skip
    checksum = crc32(body, crc32(described))
    return b"".join([_MAGIC, _HEAD.pack(len(described), len(body), checksum), described, body])


def _unpack(octets: bytes) -> tuple[State, dict[str, Any]]:
    """Raises ValueError and the like for what is not whole."""
    if not octets.startswith(_MAGIC) or len(octets) < len(_MAGIC) + _HEAD.size:
        raise ValueError("not an index of this version")
    described_size, body_size, checksum = _HEAD.unpack_from(octets, len(_MAGIC))
    at = len(_MAGIC) + _HEAD.size
    if len(octets) != at + described_size + body_size:
        raise ValueError("truncated")
    if crc32(memoryview(octets)[at:]) != checksum:
        raise ValueError("checksum")
    meta = json.loads(octets[at : at + described_size])
    if meta["byteorder"] != sys.byteorder:
        raise ValueError("made by a machine of another kind")
    at += described_size
    count = meta["count"]
    columns = []
    for typecode in _COLUMNS:
        column = array(typecode)
        size = count * column.itemsize
        column.frombytes(memoryview(octets)[at : at + size])
        columns.append(column)
        at += size
    ids, _, names = octets[at:].partition(b"\0")

    state = State()
    index = state.index
    for name in meta["keywords"]:
        index.flags.admit(frozenset((Flag(name),)))
    numbers = array("I", [index.flags.number(_flags(text)) for text in meta["sets"]])
    (
        index.uids, index.modseqs, index.flagsets, index.sizes, index.dates, index.zones,
        index.saved,
    ) = columns  # fmt: skip
    if list(numbers) != list(range(len(numbers))):
        index.flagsets = array("I", map(numbers.__getitem__, index.flagsets))
    index.counts.update(index.flagsets)
    index.size = sum(index.sizes)
    if count:
        index.email_ids = ids.decode("ascii").split("\n")
        listed = names.decode("utf-8", "surrogateescape").split("\n")
        state.names = dict(zip(index.uids, listed, strict=True))
    if len(index.email_ids) != count:
        raise ValueError("columns of different lengths")
    index.uid_next, index.modseq = meta["uid_next"], meta["modseq"]
    state.recent_from = meta["recent_from"]
    state.letters = meta["letters"]
    index.changed_log = ChangeLog(index.modseq)
    index.vanished_log = ChangeLog(meta["vanished_floor"])
    for modseq, text in meta["vanished"]:
        index.vanished_log.add(modseq, UidSet.parse(text))
    return state, meta
