"""One message in one file: ``<uid>.eml``, exactly as the client sees it.

Rule 1: an export gives each mailbox a directory. Its `index.jsonl` has what a file cannot say, a
        line of JSON for each message: file, octets, flags, internal date.
Rule 2: of such a directory a file that is as long as its line says is taken octet for octet. In all
        others lines that end with LF get their CR, flags there are none, and the date is that of
        the file, or of the field Date.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from pymap.admin.formats.content import (
    Message,
    bare_lfs,
    is_keyword,
    pieces,
    size_of,
    spool,
    with_crlf,
)
from pymap.admin.formats.dates import date_of, date_text, instant
from pymap.admin.formats.export import Mailbox, Tree
from pymap.admin.formats.files import new_file, open_plain, sync_directory
from pymap.admin.formats.names import to_path
from pymap.mime.date import sent_datetime
from pymap.wire.types import InternalDate

__all__ = ["ENDING", "EmlTree", "INDEX", "is_ours", "read_file", "read_files", "read_pipe"]

ENDING = ".eml"
INDEX = "index.jsonl"
LONGEST_HEADER = 256 * 1024  # octets that are searched for Date
LONGEST_LINE = 1024 * 1024  # of an index

_DATE = re.compile(rb"^Date:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.MULTILINE | re.IGNORECASE)
_END_OF_HEADER = re.compile(rb"(?:^|\n)\r?\n")
_NUMBER = re.compile(r"\d+")


# -- reading --


def read_files(paths: Sequence[Path], mailbox: str, date_header: bool) -> Iterator[Message]:
    """Files of one directory, by the numbers in their names."""
    index: dict[str, Any] = {}
    if paths:
        index = _read_index(paths[0].parent / INDEX)
    for path in sorted(paths, key=_in_order):
        with open_plain(path) as file:
            yield from _read(file, mailbox, date_header, index.get(path.name))


def read_file(path: Path, mailbox: str, date_header: bool) -> Iterator[Message]:
    """One that the user names, be it a link."""
    with path.open("rb") as file:
        yield from _read(file, mailbox, date_header, None)


def read_pipe(file: BinaryIO, mailbox: str) -> Iterator[Message]:
    """A message from where nothing else is known of it: its date is in the header."""
    with spool() as copy:
        copy.writelines(with_crlf(pieces(file)))
        size = copy.tell()
        copy.seek(0)
        date = _date_of_header(copy)
        copy.seek(0)
        yield Message(mailbox, (), date, size, pieces(copy))


def _read(
    file: BinaryIO, mailbox: str, date_header: bool, line: dict[str, Any] | None
) -> Iterator[Message]:
    about = os.fstat(file.fileno())
    date: InternalDate | None = instant(about.st_mtime)
    flags: tuple[str, ...] = ()
    as_it_is = False
    if line is not None:
        flags = line["flags"]
        date = line["date"] or date
        as_it_is = line["octets"] == about.st_size
    elif date_header:
        date = _date_of_header(file) or date
        file.seek(0)
    size = about.st_size
    if not as_it_is and bare_lfs(pieces(file)):
        file.seek(0)
        size = size_of(with_crlf(pieces(file)))
        file.seek(0)
        yield Message(mailbox, flags, date, size, with_crlf(pieces(file)))
    else:
        file.seek(0)
        yield Message(mailbox, flags, date, size, pieces(file))


def _date_of_header(file: BinaryIO) -> InternalDate | None:
    octets = file.read(LONGEST_HEADER)
    end = _END_OF_HEADER.search(octets)
    field = _DATE.search(octets, 0, end.end() if end else len(octets))
    found = sent_datetime(field[1]) if field else None
    return None if found is None else InternalDate(int(found.timestamp()))


def _in_order(path: Path) -> tuple[int, str]:
    """2.eml before 10.eml."""
    number = _NUMBER.match(path.name)
    return int(number[0][:18]) if number else 0, path.name


def _read_index(path: Path) -> dict[str, Any]:
    """By file; lines that make no sense are passed over."""
    found = {}
    with suppress(FileNotFoundError), open_plain(path) as file:
        while text := file.readline(LONGEST_LINE):
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                line = json.loads(text)
                flags = [flag for flag in line["flags"] if is_keyword(flag.removeprefix("\\"))]
                found[str(line["file"])] = {
                    "flags": tuple(flags),
                    "date": date_of(line["internal_date"]),
                    "octets": line["octets"],
                }
    return found


# -- writing --


class EmlTree(Tree):
    def begin(self, mailbox: Mailbox) -> None:
        self._directory = self.root / to_path(mailbox.name)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lines: list[str] = []

    def add(
        self, uid: int, flags: Sequence[str], internal_date: InternalDate, content: BinaryIO
    ) -> None:
        name = f"{uid}{ENDING}"
        with new_file(self._directory / name, internal_date.seconds) as file:
            file.writelines(pieces(content))
        line = {
            "file": name,
            "octets": content.tell(),
            "flags": list(flags),
            "internal_date": date_text(internal_date),
        }
        self._lines.append(json.dumps(line))

    def end(self) -> None:
        with new_file(self._directory / INDEX) as file:
            file.writelines(f"{line}\n".encode("ascii") for line in self._lines)
        sync_directory(self._directory)


_OURS = re.compile(r"\d+\.eml|index\.jsonl")


def is_ours(path: Path, inside: PurePath) -> bool:
    """Whether an export has made what stands there in its tree."""
    return path.is_dir() or bool(_OURS.fullmatch(path.name))
