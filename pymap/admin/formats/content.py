"""The octets of one message on their way: in pieces, and of any size."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

from pymap.wire.types import InternalDate

__all__ = [
    "PIECE",
    "Message",
    "bare_lfs",
    "is_keyword",
    "pieces",
    "size_of",
    "spool",
    "with_crlf",
]

PIECE = 64 * 1024
IN_MEMORY = 4 * 1024 * 1024
"""Octets of a message that are kept in memory; a larger one goes to a temporary file."""

_KEYWORD = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]+')  # flag-keyword, RFC 9051 9


class Message(NamedTuple):
    """One message of an import. `pieces` are `size` octets together, and are to be taken before the
    next message is. `internal_date` None: now. `mailbox` "" is the one that the user names."""

    mailbox: str
    flags: tuple[str, ...]
    internal_date: InternalDate | None
    size: int
    pieces: Iterable[bytes]


def spool() -> BinaryIO:
    """An empty file for one message, gone when it is closed. An error names the directory where
    temporary files are."""
    return cast(BinaryIO, _Spool(IN_MEMORY))


class _Spool(tempfile.SpooledTemporaryFile[bytes]):
    def write(self, octets: bytes) -> int:  # type: ignore[override]  # any buffer
        with _in_temporary_directory():
            written = super().write(octets)
            self.flush()  # a full disk is told here, not where it is read
        return written

    def writelines(self, parts: Iterable[bytes]) -> None:  # type: ignore[override]  # any buffer
        for part in parts:
            self.write(part)

    def __exit__(self, *how: object) -> None:
        self.close()

    def close(self) -> None:
        with _in_temporary_directory():
            super().close()


@contextmanager
def _in_temporary_directory() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from error


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """From where the file stands to its end."""
    while piece := file.read(PIECE):
        yield piece


def is_keyword(word: str) -> bool:
    """Whether IMAP has a flag of that name. Others of a file are left out, as Dovecot does."""
    return _KEYWORD.fullmatch(word) is not None


def size_of(parts: Iterable[bytes]) -> int:
    return sum(map(len, parts))


def bare_lfs(parts: Iterable[bytes]) -> int:
    """How many line feeds are without their CR."""
    found = 0
    after_cr = False
    for part in parts:
        found += part.count(b"\n") - part.count(b"\r\n") - (after_cr and part[:1] == b"\n")
        after_cr = part.endswith(b"\r")
    return found


def with_crlf(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Line feeds alone get their CR, as IMAP wants it.   RFC 9051 4.3.1, RFC 5322 2.1"""
    after_cr = False
    for part in parts:
        if not part:
            continue
        begins = b"\n" if after_cr and part.startswith(b"\n") else b""
        after_cr = part.endswith(b"\r")
        rest = part[len(begins) :]
        if rest.count(b"\n") != rest.count(b"\r\n"):
            rest = rest.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield begins + rest
