"""What is derived from each message, kept in a file beside the mailbox: pymap-cache.

One record a message, appended when it arrives or when someone first asks: what SORT and THREAD
compare, PREVIEW, ENVELOPE, BODYSTRUCTURE, the offsets of its parts, and its header. It is never
written through, and never trusted: each record has checksums, and what cannot be read is derived
anew. Several processes append to one file; a record that another has written is found by reading
on.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import NamedTuple, Self, TypeVar
from zlib import crc32

from pymap.mime import Digest

__all__ = ["Cached", "DigestCache"]

log = logging.getLogger("pymap.maildir")

CACHE = "pymap-cache"
VERSION = 2  # to be raised whenever `mime.digest` gives another answer for the same octets
_MAGIC = "pymap-cache"
# UID; octets of summary, preview, envelope, bodystructure, parts; of the header as it is kept here,
# 0 if it is too long; of the message's header; checksums of the summary, which comes first and is
# read by itself, and of all the rest
_RECORD = Struct(">10I")
LONG_HEADER = 64 * 1024
READ = 128 * 1024  # octets at a time
LEAST = 16 * 1024  # octets of most records
NOW: int = getattr(os, "RWF_NOWAIT", 0)  # read what the system has in memory, or fail
SLICE = 500  # messages
SMALLEST = 1 << 20  # octets of a file that is worth being written anew


_T = TypeVar("_T")


def _length(buffer: bytes, at: int) -> int:
    """Octets of the record at a place, from its head."""
    _, *lengths, _, _, _ = _RECORD.unpack_from(buffer, at)
    return int(_RECORD.size + sum(lengths))


def _needed(buffer: bytes, at: int) -> int:
    """The same of its summary alone."""
    _, summary, *_ = _RECORD.unpack_from(buffer, at)
    return int(_RECORD.size + summary)


class Cached(NamedTuple):
    digest: Digest
    header: bytes | None
    """None if it was too long to be kept."""


class DigestCache:
    """Blocking; for any thread. Nothing here raises OSError: a cache that cannot be read is
    empty, one that cannot be written stays as it is."""

    def __init__(self, path: Path, header: bytes) -> None:
        self._path = str(path)
        self._header = header
        self._lock = Lock()
        self._closed = False
        self._fd = -1
        self._at: dict[int, int] = {}  # by UID, where the record stands
        self._good: set[int] = set()  # UIDs whose record was found to be whole, or written here
        self._buffer = bytearray(LEAST)
        self._end = 0  # the file is known up to here
        self._warned = False
        self.in_memory = False
        """Whether the file system has been seen to answer from memory without waiting, as those
        on a network do not."""

    @classmethod
    def of(cls, directory: Path, uid_validity: int) -> Self:
        """The cache of a mailbox."""
        header = f"{_MAGIC} {VERSION} {uid_validity}\n".encode("ascii")
        return cls(directory / CACHE, header)

    def close(self) -> None:
        """From here on it is empty, and stays so."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._at.clear()
        self._good.clear()
        self._end = 0

    # -- where the records are --

    def _open(self) -> bool:
        """Whether there is a file, and it is one of ours."""
        if self._fd >= 0:
            return True
        if self._closed:
            return False
        try:
            try:
                how = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = os.open(self._path, how, 0o600)
            except PermissionError:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            start = os.pread(self._fd, 100, 0)
            if not start:
                os.write(self._fd, self._header)
                start = os.pread(self._fd, 100, 0)
            if not start.startswith(self._header):
                # Of another version, of a mailbox that was here before, or damaged.
                os.ftruncate(self._fd, 0)
                os.write(self._fd, self._header)
        except OSError as error:
            self._cannot(error)
            self._drop()
            return False
        self._end = len(self._header)
        return True

    def _cannot(self, error: OSError) -> None:
        if not self._warned:
            log.warning("%s: %s", self._path, error.strerror)
            self._warned = True

    def _read_on(self) -> None:
        """Find the records that were appended since, also by others."""
        size = os.fstat(self._fd).st_size
        if size < self._end:  # someone has cut it
            self._at.clear()
            self._good.clear()
            self._end = len(self._header)
        buffer, start = b"", self._end
        while self._end + _RECORD.size <= size:
            at = self._end - start
            if at + _RECORD.size > len(buffer):
                buffer, start, at = os.pread(self._fd, READ, self._end), self._end, 0
                if len(buffer) < _RECORD.size:
                    return
            uid, *lengths, _, _, _ = _RECORD.unpack_from(buffer, at)
            length = _RECORD.size + sum(lengths)
            if not uid or self._end + length > size:
                return  # half-written: whoever looks for a record there finds it unreadable
            self._at[uid] = self._end
            self._end += length

    # -- reading --

    def get(self, uids: Sequence[int]) -> dict[int, Cached]:
        """What is kept of these messages."""
        with self._lock:
            return self._get(uids, self._record, _length)

    def summaries(self, uids: Sequence[int]) -> dict[int, bytes]:
        """What SORT and THREAD compare, of these messages."""
        with self._lock:
            return self._get(uids, self._summary, _needed)

    def _get(
        self,
        uids: Sequence[int],
        read: Callable[[bytes, int, int], _T | None],
        needed: Callable[[bytes, int], int],
    ) -> dict[int, _T]:
        """By UID what `read` makes of records, for each of which it needs some octets."""
        if not self._open():
            return {}
        found: dict[int, _T] = {}
        try:
            if any(uid not in self._at for uid in uids):
                self._read_on()
            places = sorted((self._at[uid], uid) for uid in uids if uid in self._at)
            for uid, buffer, at in self._records(places, needed):
                if (record := read(buffer, at, uid)) is not None:
                    found[uid] = record
                else:
                    del self._at[uid]
                    self._good.discard(uid)
        except OSError as error:
            self._cannot(error)
        return found

    def _records(
        self, places: Sequence[tuple[int, int]], needed: Callable[[bytes, int], int]
    ) -> Iterator[tuple[int, bytes, int]]:
        """The records at some ascending places: UID, a buffer and the place in it. Neighbours come
        in one read."""
        buffer, start = b"", 0
        for place, uid in places:
            at = place - start
            length = needed(buffer, at) if 0 <= at <= len(buffer) - _RECORD.size else LEAST
            if at < 0 or at + length > len(buffer):
                buffer, start, at = os.pread(self._fd, max(READ, length), place), place, 0
                length = needed(buffer, at) if len(buffer) >= _RECORD.size else LEAST
                if length > len(buffer) and length <= os.fstat(self._fd).st_size - place:
                    buffer = os.pread(self._fd, length, place)
            yield uid, buffer, at

    def _summary(self, buffer: bytes, at: int, uid: int) -> bytes | None:
        """The summary in the record at a place in a buffer, None if it is not that of `uid`, or
        not whole."""
        if at + _RECORD.size > len(buffer):
            return None
        known, length, *_, checksum, _ = _RECORD.unpack_from(buffer, at)
        summary = buffer[at + _RECORD.size : at + _RECORD.size + length]
        return summary if known == uid and crc32(summary) == checksum else None

    def _record(self, buffer: bytes | bytearray, at: int, uid: int) -> Cached | None:
        """The record at a place in a buffer, None if it is not that of `uid`, or not whole."""
        if at + _RECORD.size > len(buffer):
            return None
        known, *lengths, header_size, of_summary, of_rest = _RECORD.unpack_from(buffer, at)
        texts: list[bytes] = []
        place = start = at + _RECORD.size
        for length in lengths:
            texts.append(bytes(buffer[place : place + length]))
            place += length
        if known != uid or place > len(buffer):
            return None
        summary, preview, envelope, structure, parts, header = texts
        if uid not in self._good:
            rest = buffer[start + len(summary) : place]
            if crc32(summary) != of_summary or crc32(rest) != of_rest:
                return None
            self._good.add(uid)
        made = Digest(envelope, structure, parts, header_size, summary, preview)
        return Cached(made, header if len(header) == header_size else None)

    def get_now(self, uids: Sequence[int]) -> dict[int, Cached] | None:
        """The same for the event loop: None if it cannot be had without waiting for the disk, or
        for somebody else."""
        if self._fd < 0 or not NOW or not self._lock.acquire(blocking=False):
            return None
        try:
            found: dict[int, Cached] = {}
            for uid in uids:
                place = self._at.get(uid)
                if place is None:
                    return None
                got = os.preadv(self._fd, (self._buffer,), place, NOW)
                record = self._record(self._buffer[:got], 0, uid)
                if record is None:
                    return None  # too long for the buffer, or something is wrong with it
                found[uid] = record
            self.in_memory = True
            return found
        except OSError:
            return None
        finally:
            self._lock.release()

    # -- writing --

    def put(self, messages: Iterable[tuple[int, Digest, bytes | None]]) -> None:
        """Keep what is derived of some messages: UID, digest, header or None if it is too long."""
        with self._lock:
            self._put(messages)

    def _put(self, messages: Iterable[tuple[int, Digest, bytes | None]]) -> None:
        if not self._open():
            return
        octets = bytearray()
        places: list[tuple[int, int]] = []
        for uid, made, header in messages:
            if header is None or len(header) > LONG_HEADER or len(header) != made.header_size:
                header = b""
            texts = (made.preview, made.envelope, made.bodystructure, made.parts, header)
            rest = b"".join(texts)
            places.append((uid, len(octets)))
            octets += _RECORD.pack(
                uid, len(made.summary), *map(len, texts), made.header_size,
                crc32(made.summary), crc32(rest),
            )  # fmt: skip
            octets += made.summary
            octets += rest
            if len(octets) > READ:
                self._append(octets, places)
                octets, places = bytearray(), []
        if octets:
            self._append(octets, places)

    def _append(self, octets: bytearray, places: Sequence[tuple[int, int]]) -> None:
        try:
            written = os.write(self._fd, octets)  # O_APPEND: in one piece, whoever else writes
            start = os.lseek(self._fd, 0, os.SEEK_CUR) - written
            if written < len(octets):
                os.ftruncate(self._fd, start)
                return
        except OSError as error:
            self._cannot(error)
            return
        for uid, at in places:
            self._at[uid] = start + at
            self._good.add(uid)
        if start == self._end:
            self._end += len(octets)

    def compact(self, uids: Sequence[int]) -> None:
        """Write the file anew with what is kept of `uids`, if most of it is of others."""
        with self._lock:
            if self._fd < 0 or len(self._at) < 2 * len(uids):
                return
            if os.fstat(self._fd).st_size < SMALLEST:
                return
            fresh = DigestCache(Path(f"{self._path}.{os.getpid()}.new"), self._header)
            try:
                for start in range(0, len(uids), SLICE):
                    some = self._get(uids[start : start + SLICE], self._record, _length)
                    fresh.put((uid, kept.digest, kept.header) for uid, kept in some.items())
                if fresh._fd >= 0:
                    os.replace(fresh._path, self._path)
                    os.close(self._fd)
                    self._fd, self._at, self._end = fresh._fd, fresh._at, fresh._end
                    self._good = fresh._good
            except OSError as error:
                self._cannot(error)
                fresh.close()
                with contextlib.suppress(OSError):
                    os.unlink(fresh._path)
