r"""mbox: messages in one file, each after a line ``From sender date``.

Rule 1: a message begins at a line that says "From ", somebody, and a date with its time and year.
        Any other line that begins so is text of a message, also without a quote.
Rule 2: a text line of "From " with any number of ">" in front is written with one more (mboxrd),
        and read with one less. mboxo, which quotes only "From " itself, cannot be told apart: a
        ">From " in its text that was there before loses its sign. (Nor can a line of more than 256
        KiB whose signs fill all of these.)
Rule 3: lines end with LF; when they are read they get their CR. An empty line ends a message.
Rule 4: flags are in the header: Status (R is \Seen), X-Status (A F D T), X-Keywords; UIDs in X-UID
        and X-IMAPbase. These lines are no part of the message. Mutt, Dovecot and c-client share
        them; but Dovecot shows a keyword only if X-IMAPbase in the first message lists it, which
        an export cannot know by then.
Rule 5: an export puts them in front of the message, and behind them one line of our own: its size,
        whether lines without CR are its own, the date with its zone. Where that stands everything
        after it is the message, octet for octet; other programs see a field that they do not know.
Rule 6: the first message of c-client, which is none ("DON'T DELETE THIS MESSAGE"), is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

from pymap.admin.formats.content import (
    Message,
    bare_lfs,
    is_keyword,
    pieces,
    size_of,
    spool,
    with_crlf,
)
from pymap.admin.formats.dates import date_of, date_text
from pymap.admin.formats.export import Mailbox, Tree
from pymap.admin.formats.files import new_file
from pymap.admin.formats.names import to_path
from pymap.mime.date import sent_datetime
from pymap.wire.types import InternalDate

__all__ = [
    "Base",
    "ENDING",
    "MboxPipe",
    "MboxTree",
    "NotMbox",
    "is_ours",
    "looks_like_mbox",
    "read",
    "write_message",
]

ENDING = ".mbox"

BLOCK = 256 * 1024
LONGEST_HEADER = 1024 * 1024  # octets that are searched for the lines of rule 4
LONGEST_SENDER = 320

_FROM = re.compile(rb"^From [^\n]{1,400}$", re.MULTILINE)
_DATE = re.compile(rb"From (?:.*[ \t])?((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?[ \t].*)", re.DOTALL)
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY_AND_TIME = re.compile(
    rb"\w+,?\s+(?:%b\s+\d\d?|\d\d?\s+%b)\b(?=.*\b\d\d?:\d\d)(?=.*\b\d{4}\b)" % (_MONTH, _MONTH)
)
_ZONE_BEHIND = re.compile(rb"(.*\s)(\d{4})\s+([+-]\d{4}|[A-Z]{1,5})\s*\Z")
_QUOTE = re.compile(rb"^(>*From )", re.MULTILINE)
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_END_OF_HEADER = re.compile(rb"(?:^|\n)\r?\n")
_FIELD = re.compile(
    rb"^(Status|X-Status|X-Keywords|X-UID|X-IMAPbase|X-IMAP):[ \t]*([^\r\n]*)"
    rb"(?:\r?\n[ \t][^\r\n]*)*\r?(?:\n|\Z)",
    re.MULTILINE | re.IGNORECASE,
)
_OURS = re.compile(
    rb"\A((?:(?:Status|X-Status|X-Keywords|X-UID|X-IMAPbase): [^\n]*\n)*)"
    rb"X-Pymap: octets=(\d{1,19}); lines=(crlf|mixed); date=([^\n]{1,40})\n"
)
_RETURN_PATH = re.compile(rb"\A(?:[^\n]*\n){0,20}?Return-Path:[ \t]*<([!-~]{1,320})>", re.I)

_STATUS = {"R": "\\Seen"}
_X_STATUS = {"A": "\\Answered", "F": "\\Flagged", "D": "\\Deleted", "T": "\\Draft"}


class NotMbox(ValueError):
    """It does not begin as rule 1 says."""


def looks_like_mbox(octets: bytes) -> bool:
    return octets.startswith(b"From ")


# -- reading --


def read(file: BinaryIO, mailbox: str = "") -> Iterator[Message]:
    """Any size in constant memory; the file need not be one that can seek. Raises NotMbox,
    OSError."""
    first = True
    reader: _Reader | None = None
    try:
        for block, starts in _blocks(file):
            if first and not block.strip():
                continue  # empty lines in front
            at = 0
            for line in _FROM.finditer(block):
                date = _date_of_line(line[0])
                if date is None or (line.start() == 0 and not starts):
                    continue
                if reader is not None:
                    reader.feed(block[at : line.start()], starts or at > 0)
                    yield from reader.messages(mailbox)
                elif block[: line.start()].strip():
                    raise NotMbox
                reader = _Reader(date, first)
                first = False
                at = line.end() + 1
            if reader is None:
                raise NotMbox
            reader.feed(block[at:], starts or at > 0)
        if reader is not None:
            yield from reader.messages(mailbox)
    finally:
        if reader is not None:
            reader.close()


def _blocks(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, or a piece of a very long one; and whether a line starts with it."""
    rest = b""
    starts = True
    while part := file.read(BLOCK):
        rest += part
        cut = rest.rfind(b"\n") + 1
        if not cut and len(rest) >= BLOCK:
            cut = len(rest) - rest.endswith(b"\r")  # never between CR and LF
        if cut:
            yield rest[:cut], starts
            starts = rest[cut - 1 : cut] == b"\n"
            rest = rest[cut:]
    if rest:
        yield rest, starts


class _Reader:
    """One message as it comes. Up to the end of its header it is in memory, then in a spool."""

    def __init__(self, date: bytes, first: bool) -> None:
        self._date = _from_date(date)
        self._first = first
        self._head: bytes | None = b""
        self._flags: tuple[str, ...] = ()
        self._none = False  # rule 6
        self._size: int | None = None  # rule 5
        self._mixed = False
        self._file = spool()

    def close(self) -> None:
        self._file.close()

    def feed(self, octets: bytes, starts: bool) -> None:
        if self._head is not None:
            self._head += octets
            if len(self._head) <= LONGEST_HEADER and not _END_OF_HEADER.search(self._head):
                return
            self._header()
        else:
            self._write(_unquoted(octets, starts))

    def _header(self) -> None:
        """What is in memory is the header, and some of what follows."""
        octets, self._head = self._head or b"", None
        if ours := _OURS.match(octets):
            fields, size, lines, date = ours.groups()
            self._flags, _ = _flags(fields)
            self._size, self._mixed = int(size), lines == b"mixed"
            with suppress(ValueError):
                self._date = date_of(date.decode("ascii", "replace"))
            self._write(_unquoted(octets[ours.end() :], True))
            return
        end = _END_OF_HEADER.search(octets)
        at = end.end() if end else len(octets)
        self._flags, imap = _flags(octets[:at])
        self._none = self._first and imap and b"FOLDER INTERNAL DATA" in octets[:at]
        # ">From " in a header is no quote but an old kind of trace.
        self._write(_FIELD.sub(b"", octets[:at]))
        self._write(_unquoted(octets[at:], True))

    def _write(self, octets: bytes) -> None:
        if self._size is None:
            self._file.writelines(with_crlf((octets,)))
        else:
            self._file.write(octets if self._mixed else octets.replace(b"\n", b"\r\n"))

    def messages(self, mailbox: str) -> Iterator[Message]:
        """The message, now that all of it has come; none if it is not one."""
        if self._head is not None:
            self._header()
        with self._file as file:
            if not self._none:
                size = self._cut(file.tell())
                file.seek(0)
                yield Message(mailbox, self._flags, self._date, size, pieces(file))

    def _cut(self, size: int) -> int:
        """Take away what is behind the message: the empty line, and a line end that it had not."""
        self._file.seek(max(0, size - 4))
        tail = self._file.read(4)
        line_end = b"\n" if self._mixed else b"\r\n"
        behind = -1 if self._size is None else size - self._size
        if 0 <= behind <= len(tail) and tail[len(tail) - behind :] in (
            b"", line_end, line_end * 2
        ):  # fmt: skip
            end = size - behind
        elif tail.endswith(line_end * 2) or tail == line_end:
            end = size - len(line_end)
        else:
            end = size
        self._file.truncate(end)
        return end


def _flags(fields: bytes) -> tuple[tuple[str, ...], bool]:
    """What the lines of rule 4 say, and whether one of them is of c-client's own message."""
    found: dict[str, None] = {}
    imap = False
    for name, value in _FIELD.findall(fields):
        text = value.decode("utf-8", "replace")
        match name.lower():
            case b"status":
                found.update((_STATUS[letter], None) for letter in text if letter in _STATUS)
            case b"x-status":
                found.update((_X_STATUS[letter], None) for letter in text if letter in _X_STATUS)
            case b"x-keywords":
                found.update((word, None) for word in text.split() if is_keyword(word))
            case b"x-imap":
                imap = True
    return tuple(found), imap


def _date_of_line(line: bytes) -> bytes | None:
    """The date of a line as in rule 1; None if it is another one."""
    found = _DATE.fullmatch(line)
    return found[1] if found and _DAY_AND_TIME.match(found[1]) else None


def _from_date(raw: bytes) -> InternalDate | None:
    """UTC, unless it says otherwise: mbox has no rule."""
    if behind := _ZONE_BEHIND.fullmatch(raw):  # Tue Nov 24 14:00:00 2026 +0100
        start, year, zone = behind.groups()
        raw = b"%b%b %b" % (start, zone, year)
    found = sent_datetime(raw)
    return None if found is None else InternalDate(int(found.timestamp()))


def _unquoted(octets: bytes, starts: bool) -> bytes:
    return _at_line_starts(_QUOTED, rb"\1", octets, starts)


def _at_line_starts(what: re.Pattern[bytes], by: bytes, octets: bytes, starts: bool) -> bytes:
    if b"From " not in octets:
        return octets
    cut = 0 if starts else octets.find(b"\n") + 1 or len(octets)
    return octets[:cut] + what.sub(by, octets[cut:])


# -- writing --


class MboxTree(Tree):
    """A file for each mailbox, ``Work/2024.mbox``."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._closing = ExitStack()  # the file that is being written

    def begin(self, mailbox: Mailbox) -> None:
        path = self.root / f"{to_path(mailbox.name)}{ENDING}"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self._closing.enter_context(new_file(path))
        self._base: Base | None = Base(mailbox.uid_validity, max(0, mailbox.uid_next - 1))

    def add(
        self, uid: int, flags: Sequence[str], internal_date: InternalDate, content: BinaryIO
    ) -> None:
        write_message(self._file, content, flags, internal_date, uid, self._base)
        self._base = None

    def end(self) -> None:
        self._closing.close()

    def close(self) -> None:
        self._closing.close()


class MboxPipe(Tree):
    """One mailbox, to where there are no files."""

    def __init__(self, pipe: BinaryIO) -> None:
        super().__init__(Path())
        self._pipe = pipe

    def begin(self, mailbox: Mailbox) -> None:
        self._base: Base | None = Base(mailbox.uid_validity, max(0, mailbox.uid_next - 1))

    def add(
        self, uid: int, flags: Sequence[str], internal_date: InternalDate, content: BinaryIO
    ) -> None:
        write_message(self._pipe, content, flags, internal_date, uid, self._base)
        self._base = None

    def end(self) -> None:
        pass


def is_ours(path: Path, inside: PurePath) -> bool:
    """Whether an export has made what stands there in its tree."""
    return path.is_dir() or path.suffix == ENDING


class Base(NamedTuple):
    """What X-IMAPbase says, in front of the first message of a file."""

    uid_validity: int
    uid_last: int


def write_message(
    file: BinaryIO,
    content: BinaryIO,
    flags: Sequence[str],
    internal_date: InternalDate,
    uid: int,
    base: Base | None = None,
) -> None:
    """Append a message to a file; `content` stands at its beginning. Raises OSError."""
    size = size_of(pieces(content))
    content.seek(0)
    mixed = bare_lfs(pieces(content)) > 0
    content.seek(0)
    file.write(b"From %b %b\n" % (_sender(content), _asctime(internal_date)))
    file.write(_metadata(flags, uid, base))
    lines = b"mixed" if mixed else b"crlf"
    date = date_text(internal_date).encode()
    file.write(b"X-Pymap: octets=%d; lines=%b; date=%b\n" % (size, lines, date))
    content.seek(0)
    last = b"\n"
    for block, starts in _blocks(content):
        octets = block if mixed else block.replace(b"\r\n", b"\n")
        file.write(_at_line_starts(_QUOTE, rb">\1", octets, starts))
        last = octets[-1:] or last
    file.write(b"\n" if last == b"\n" else b"\n\n")


def _sender(content: BinaryIO) -> bytes:
    found = _RETURN_PATH.match(content.read(4096))
    return found[1] if found and len(found[1]) <= LONGEST_SENDER else b"MAILER-DAEMON"


def _asctime(date: InternalDate) -> bytes:
    utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=date.seconds)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[utc.weekday()]
    return f"{day} {utc:%b} {utc.day:2} {utc:%H:%M:%S} {utc.year:04}".encode("ascii")


def _metadata(flags: Sequence[str], uid: int, base: Base | None) -> bytes:
    known = set(flags)
    status = "".join(letter for letter, flag in _STATUS.items() if flag in known)
    x_status = "".join(letter for letter, flag in _X_STATUS.items() if flag in known)
    keywords = [flag for flag in flags if is_keyword(flag)]
    lines = [] if base is None else [f"X-IMAPbase: {base.uid_validity} {base.uid_last:010}"]
    lines += [f"Status: {status}O", f"X-Status: {x_status}", f"X-Keywords: {' '.join(keywords)}"]
    lines += [f"X-UID: {uid}"]
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
