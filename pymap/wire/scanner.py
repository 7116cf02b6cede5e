"""The lexer: one method per lexical production of RFC 9051 9, octets in, values out.

This is the border between octets and text. A method that finds something else than its
production raises BadCommand; none of them looks further than it must.
"""

from __future__ import annotations

import re
from calendar import timegm

from pymap.limits import Limits
from pymap.wire import modutf7
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.framer import Frame
from pymap.wire.types import (
    DELIMITER,
    MAX_NUMBER,
    Flag,
    InternalDate,
    SequenceSet,
    meant_name,
)

__all__ = ["Scanner"]

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING = re.compile(rb"[^\x00-\x20\x7f(){%*\"\\]+")  # ASTRING-CHAR; 8-bit is checked later
_LIST_MAILBOX = re.compile(rb"[^\x00-\x20\x7f(){\"\\]+")
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*)*)"')
_ESCAPED = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"(~?)\{\d+\+?\}\r?\n")
_NUMBER = re.compile(rb"\d{1,20}")
_SEQ_RANGE = rb"(?:[1-9]\d{0,9}|\*)(?::(?:[1-9]\d{0,9}|\*))?"
_SEQ_NUMBER = re.compile(rb"[1-9]\d{0,9}|\*")
_SEQUENCE = re.compile(_SEQ_RANGE + rb"(?:," + _SEQ_RANGE + rb")*+")
_FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_DATE = re.compile(rb'"?(\d{1,2})-([A-Za-z]{3})-(\d{4})"?')
_DATE_TIME = re.compile(
    rb'"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"'
)
_MONTHS = {
    name: number
    for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}
_BLANKS = re.compile(rb"(?<! ) +\r?\n\Z")
_END = re.compile(rb"\r?\n\Z")


class Scanner:
    """A cursor over one frame. `utf8` says how mailbox names are written (RFC 6855 3), `delimiter`
    what stands between their levels."""

    __slots__ = ("delimiter", "literal8", "literals", "next_literal", "pos", "text", "utf8")

    def __init__(self, frame: Frame, utf8: bool = False, delimiter: str = DELIMITER) -> None:
        self.text, self.literals = frame
        if self.text.endswith((b" \r\n", b" \n")):
            # Blanks at the end of a command: old clients send them.
            self.text = _BLANKS.sub(b"\r\n", self.text)
        self.pos = 0
        self.next_literal = 0
        self.literal8 = False  # whether the last literal was a literal8
        self.utf8 = utf8
        self.delimiter = delimiter

    # -- the smallest things --

    def match(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        found = pattern.match(self.text, self.pos)
        if found is None:
            raise BadCommand(f"Expected {expected}")
        self.pos = found.end()
        return found

    def accept(self, token: bytes) -> bool:
        """Step over `token` if it is next."""
        if self.text.startswith(token, self.pos):
            self.pos += len(token)
            return True
        return False

    def expect(self, token: bytes) -> None:
        if not self.accept(token):
            raise BadCommand(f"Expected {token.decode('ascii')!r}")

    def sp(self) -> None:
        if not self.accept(b" "):
            raise BadCommand("Expected a space")

    def at(self, token: bytes) -> bool:
        return self.text.startswith(token, self.pos)

    def end(self) -> None:
        if not _END.match(self.text, self.pos):
            raise BadCommand("Unexpected argument")

    @property
    def at_end(self) -> bool:
        return _END.match(self.text, self.pos) is not None

    # -- words and numbers --

    def atom(self) -> str:
        return self.match(_ATOM, "an atom")[0].decode("ascii")

    def keyword(self) -> str:
        """An atom that names something in the grammar: compared without case."""
        return self.atom().upper()

    def number(self, largest: int = MAX_NUMBER) -> int:
        value = int(self.match(_NUMBER, "a number")[0])
        if value > largest:
            raise BadCommand("Number too large")
        return value

    def nz_number(self) -> int:
        value = self.number()
        if not value:
            raise BadCommand("Expected a number above zero")
        return value

    def number64(self) -> int:
        """number64 and mod-sequence-valzer: 63 bits.   RFC 9051 9, RFC 7162 7"""
        return self.number((1 << 63) - 1)

    def sequence_set(self) -> SequenceSet:
        """sequence-set, or ``$`` for the saved result.   RFC 9051 9"""
        if self.accept(b"$"):
            return SequenceSet((), saved=True)
        text = self.match(_SEQUENCE, "a sequence set")[0].replace(b"*", b"0")
        if b":" in text:
            pairs = [part.partition(b":") for part in text.split(b",")]
            ranges = tuple((int(first), int(last or first)) for first, _, last in pairs)
            largest = max(map(max, ranges))
        else:
            numbers = list(map(int, text.split(b",")))
            ranges = tuple(zip(numbers, numbers, strict=True))
            largest = max(numbers)
        if largest > MAX_NUMBER:
            raise BadCommand("Number out of range in a sequence set")
        return SequenceSet(ranges)

    def seq_number(self) -> SequenceSet:
        """seq-number = nz-number / "*", as a set of that one.   RFC 9051 9"""
        number = int(self.match(_SEQ_NUMBER, "a message number")[0].replace(b"*", b"0"))
        if number > MAX_NUMBER:
            raise BadCommand("Number too large")
        return SequenceSet(((number, number),))

    # -- strings --

    def string(self) -> bytes:
        """string = quoted / literal"""
        text, pos = self.text, self.pos
        if quoted := _QUOTED.match(text, pos):
            self.pos = quoted.end()
            raw = quoted[1]
            return _ESCAPED.sub(rb"\1", raw) if b"\\" in raw else raw
        return self.literal()

    def literal(self) -> bytes:
        """literal / literal8; which of them is left in `self.literal8`."""
        announced = self.match(_LITERAL, "a string")
        if self.next_literal == len(self.literals):
            raise BadCommand("Expected a string")  # blanks behind {n}: the framer saw no literal
        self.literal8 = bool(announced[1])
        value = self.literals[self.next_literal]
        self.next_literal += 1
        return value

    def astring(self) -> bytes:
        """astring = 1*ASTRING-CHAR / string; NUL is never part of one (RFC 9051 4.3)."""
        found = _ASTRING.match(self.text, self.pos)
        if found is None:
            value = self.string()
            if b"\0" in value:
                raise BadCommand("NUL in a string")
            return value
        self.pos = found.end()
        return found[0]

    def nstring(self) -> bytes | None:
        """nstring = string / nil"""
        if self.text[self.pos : self.pos + 3].upper() == b"NIL":
            self.pos += 3
            return None
        return self.string()

    def text_argument(self) -> str:
        """An astring that is text for people or programs: a user name, an id."""
        return _utf8(self.astring())

    # -- mailboxes, flags, dates --

    def mailbox(self) -> str:
        """mailbox = "INBOX" / astring"""
        return self.mailbox_name(self.astring())

    def supplied_mailbox(self) -> tuple[str, str]:
        """The mailbox that is meant, and its name as the client gave it."""
        raw = self.astring()
        return self.mailbox_name(raw), raw.decode("utf-8", "replace")

    def list_mailbox(self) -> str:
        """list-mailbox = 1*list-char / string"""
        found = _LIST_MAILBOX.match(self.text, self.pos)
        if found is None:
            raw = self.string()
        else:
            self.pos = found.end()
            raw = found[0]
        return self.mailbox_name(raw)

    def mailbox_name(self, raw: bytes) -> str:
        """A name as it is meant. UTF-8 is taken from every client, modified UTF-7 only from those
        that have not said UTF8 or IMAP4rev2.   RFC 9051 5.1, RFC 6855 3, RFC 3501 5.1.3"""
        try:
            if self.utf8 or not raw.isascii():
                name = raw.decode("utf-8")
            else:
                name = modutf7.decode(raw)
        except ValueError as error:
            raise BadCommand("Malformed mailbox name") from error
        return meant_name(name, self.delimiter)

    def flag(self, limits: Limits) -> Flag:
        r"""flag = "\Answered" / ... / flag-keyword; an unknown \name is refused by its user."""
        name = self.match(_FLAG, "a flag")[0].decode("ascii")
        if len(name) > limits.keyword:
            raise Refused("LIMIT", "Keyword too long")
        return Flag.of(name)

    def flag_list(self, limits: Limits) -> frozenset[Flag]:
        """flag-list = "(" [flag *(SP flag)] ")" """
        self.expect(b"(")
        flags: list[Flag] = []
        while not self.accept(b")"):
            if flags:
                self.sp()
            flags.append(self.flag(limits))
            if len(flags) > limits.flags:
                raise BadCommand("Too many flags")
        return frozenset(flags)

    def date(self) -> int:
        """date, as the number of days since 1970-01-01.   RFC 9051 9"""
        found = self.match(_DATE, "a date")
        if (found[0][:1] == b'"') != (found[0][-1:] == b'"'):
            raise BadCommand("Unbalanced quotes")
        return _days(int(found[1]), found[2], int(found[3]))

    def date_time(self) -> InternalDate:
        """date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE"""
        day, month, year, hours, minutes, seconds, sign, zh, zm = self.match(
            _DATE_TIME, "a date-time"
        ).groups()
        days = _days(int(day), month, int(year))
        h, m, s, zone = int(hours), int(minutes), int(seconds), int(zh) * 60 + int(zm)
        # A leap second is legal (RFC 5322 3.3). Zones beyond a day are not.
        if h > 23 or m > 59 or s > 60 or int(zm) > 59 or zone >= 24 * 60:
            raise BadCommand("No such time")
        if sign == b"-":
            zone = -zone
        return InternalDate(days * 86400 + h * 3600 + m * 60 + s - zone * 60, zone)


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadCommand("String is not UTF-8") from error


def _days(day: int, month_name: bytes, year: int) -> int:
    month = _MONTHS.get(month_name.lower(), 0)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not month or not 1 <= day <= lengths[month - 1] or year < 1:
        raise BadCommand("No such date")
    return timegm((year, month, day, 0, 0, 0)) // 86400
