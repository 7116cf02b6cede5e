"""One server response: octets in, values out, and a refusal of what the grammar does not allow.

The strictness is itself a test: a server that sends NUL in a literal, 8-bit in a quoted string
before the client asked for it, or two spaces between values fails here.   RFC 9051 9
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias


class BadResponse(AssertionError):
    """The server sent octets that are no IMAP response."""


class Form(Enum):
    QUOTED = auto()
    LITERAL = auto()
    LITERAL8 = auto()


@dataclass(frozen=True, slots=True)
class Atom:
    value: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """An IMAP string; the form seldom matters to a test, the value does."""

    value: bytes
    form: Form = Form.QUOTED


Value: TypeAlias = "Atom | Text | tuple[Value, ...]"

STATUS_WORDS = (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH")


@dataclass(frozen=True, slots=True)
class Response:
    tag: bytes  # b"*", b"+" or the command's tag
    number: int | None  # the 4 of "* 4 EXISTS"
    name: bytes  # upper case; empty for "+"
    code: tuple[Value, ...] | None  # the [...] of a status response
    values: tuple[Value, ...]
    raw: bytes

    def is_status(self) -> bool:
        return self.name in STATUS_WORDS


class Scanner:
    """A cursor over one response, literals included."""

    def __init__(self, data: bytes, *, utf8: bool = False) -> None:
        self.data = data
        self.at = 0
        self.utf8 = utf8

    def peek(self, n: int = 1) -> bytes:
        return self.data[self.at : self.at + n]

    def done(self) -> bool:
        return self.at >= len(self.data)

    def fail(self, why: str) -> BadResponse:
        return BadResponse(f"{why} at octet {self.at} of {self.data!r}")

    def word(self) -> bytes:
        """Up to the next space or the end; the space is taken too."""
        end = self.data.find(b" ", self.at)
        end = len(self.data) if end < 0 else end
        word = self.data[self.at : end]
        self.at = min(end + 1, len(self.data))
        return word

    def values(self, closer: bytes) -> tuple[Value, ...]:
        """Values to `closer` (b"" is the end). One space between, none needed after ")"."""
        found: list[Value] = []
        while True:
            if self.peek() == closer:  # peek() is b"" at the end
                self.at += len(closer)
                return tuple(found)
            if self.done():
                raise self.fail(f"{closer!r} is missing")
            if found:
                if self.peek() == b" ":
                    self.at += 1
                elif not isinstance(found[-1], tuple):
                    raise self.fail("a space is missing")
            if self.peek() in (b" ", b"") or self.peek() == closer:
                raise self.fail("a value is missing")
            found.append(self.value(closer))

    def value(self, closer: bytes) -> Value:
        first = self.peek()
        if first == b"(":
            self.at += 1
            return self.values(b")")
        if first == b'"':
            return Text(self.quoted())
        if first == b"{":
            return self.literal(Form.LITERAL)
        if self.peek(2) == b"~{":
            self.at += 1
            return self.literal(Form.LITERAL8)
        return self.atom(closer)

    def bad_url(self) -> tuple[Value, ...] | None:
        """BADURL with its URL, which is any text but "]".   RFC 4469 5"""
        if self.peek(7) != b"BADURL ":
            return None
        end = self.data.index(b"]", self.at)
        url = self.data[self.at + 7 : end]
        if not url or not url.isascii() or not url.decode("ascii").isprintable():
            raise self.fail("no URL")
        self.at = end + 1
        return Atom(b"BADURL"), Text(url)

    def quoted(self) -> bytes:
        value = bytearray()
        self.at += 1
        while True:
            c = self.peek()
            self.at += 1
            if c == b'"':
                break
            if c == b"\\":
                c = self.peek()
                self.at += 1
                if c not in (b"\\", b'"'):
                    raise self.fail('only \\\\ and \\" may be escaped')
            if c in (b"", b"\r", b"\n", b"\0"):
                raise self.fail("a quoted string holds no CR, LF or NUL")
            value += c
        if not self.utf8 and not value.isascii():
            raise self.fail("8-bit in a quoted string that nobody asked for")
        return bytes(value)

    def literal(self, form: Form) -> Text:
        end = self.data.index(b"}\r\n", self.at)
        size = int(self.data[self.at + 1 : end])
        start = end + 3
        self.at = start + size
        value = self.data[start : self.at]
        if len(value) != size:
            raise self.fail("a literal is cut short")
        if form is Form.LITERAL and b"\0" in value:
            raise self.fail("NUL needs a literal8")
        return Text(value, form)

    def atom(self, closer: bytes) -> Atom:
        start = self.at
        while (c := self.peek()) not in (b"", b" ", b"(", b")", closer):
            if c == b"[" and self.data[start : self.at].upper() in SECTIONED:
                return self.section(start)
            if c in ATOM_SPECIALS and not (c in b"\\*" and self.data[start : self.at] in EMPTYISH):
                raise self.fail(f"{c!r} in an atom")
            if c < b"!" or c > b"~":
                raise self.fail(f"{c!r} in an atom")
            self.at += 1
        if self.at == start:
            raise self.fail("an atom is missing")
        return Atom(self.data[start : self.at])

    def section(self, start: int) -> Atom:
        """BODY[HEADER.FIELDS (From "To")]<0>: one name, upper-cased, without quotes."""
        self.at += 1
        name = self.data[start : self.at].upper()
        name += render(self.values(b"]")).upper() + b"]"
        if self.peek() == b"<":
            end = self.data.index(b">", self.at) + 1
            name += self.data[self.at : end]
            self.at = end
        return Atom(name)


SECTIONED = (b"BODY", b"BODY.PEEK", b"BINARY", b"BINARY.PEEK", b"BINARY.SIZE")
ATOM_SPECIALS = b'"%*\\{'
EMPTYISH = (b"", b"\\")  # \Seen and \* begin so


def render(values: tuple[Value, ...]) -> bytes:
    parts = []
    for v in values:
        parts.append(b"(" + render(v) + b")" if isinstance(v, tuple) else v.value)
    return b" ".join(parts)


def parse(raw: bytes, *, utf8: bool) -> Response:
    """`raw` is one response without its last CRLF."""
    s = Scanner(raw, utf8=utf8)
    tag = s.word()
    if tag == b"+":
        return Response(tag, None, b"", None, (), raw)
    number = None
    word = s.word()
    if word.isdigit():
        number = int(word)
        word = s.word()
    name = word.upper()
    if name not in STATUS_WORDS:
        return Response(tag, number, name, None, s.values(b""), raw)
    code = None
    if s.peek() == b"[":
        s.at += 1
        code = s.bad_url() or s.values(b"]")
        if s.peek() not in (b" ", b""):
            raise s.fail("text must follow the code after a space")
    return Response(tag, number, name, code, (), raw)
