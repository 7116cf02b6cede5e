"""The tree of parts: where each header and body lies. One pass, from the front to the end.

Rule 1: Delimiter lines of all open multiparts are looked for at once, so that the parent's
        delimiter ends whatever is open below it, and each octet is looked at once however deep.
Rule 2: The line end before a delimiter belongs to the delimiter.   RFC 2046 5.1.1
Rule 3: A message/rfc822 part has exactly one child: the root of the embedded message.
Rule 4: A multipart has at least one child, since the grammar of BODYSTRUCTURE wants one: without
        any delimiter line, or boundary, it is a text/plain part that spans the whole body.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import NamedTuple

from .encoding import Encoding, encoding_of
from .envelope import ADDRESS_FIELDS, FIELDS
from .header import lowered, pattern_of, strip_comments, unfold
from .params import MAX_FIELD, OCTET_STREAM, RFC822, TEXT_PLAIN, Media, media_of

MAX_DEPTH = 100
"""Multiparts and messages inside one another; a deeper one is an application/octet-stream."""

MAX_PARTS = 10_000
"""Parts of a message; the last is an application/octet-stream that spans the rest of it.
(An empty multipart adds one of its own.)"""

MAX_REPEATED = 1_000
"""Repetitions of an address field that are joined; more are left out of ENVELOPE."""

MAX_LINE = 1_000
"""Octets of a delimiter line; text lines have 998 at most.   RFC 5322 2.1.1"""


class Kind(IntEnum):
    """What a part is to IMAP; the numbers are in packed parts and may not change."""

    BASIC = 0
    TEXT = 1
    MULTIPART = 2
    MESSAGE = 3  # message/rfc822, message/global: with envelope and body
    NOTICE = 4  # other message/*: as BASIC, but searched like text


class Part:
    """A part while it is parsed; offsets are into the message."""

    __slots__ = (
        "body",
        "boundary",
        "encoding",
        "end",
        "fields",
        "header",
        "kind",
        "media",
        "next",
        "shadowed",
    )

    def __init__(
        self, kind: Kind, media: Media, header: int, body: int, fields: dict[bytes, bytes]
    ) -> None:
        self.kind = kind
        self.media = media
        self.header = header  # start of its header block
        self.body = body  # start of its body, end of its header
        self.end = body
        self.fields = fields  # raw values by lower-case name
        self.next = 0  # index after its last descendant
        self.encoding = b"7BIT"  # RFC 2045 6.1
        self.boundary = b""
        self.shadowed: int | None = None  # the level that used the same boundary before


MIME_FIELDS = (
    *(b"content-type", b"content-transfer-encoding", b"content-id", b"content-description"),
    *(b"content-disposition", b"content-language", b"content-location", b"content-md5"),
)
_MIME = pattern_of(MIME_FIELDS)
_MESSAGE = pattern_of((*MIME_FIELDS, *FIELDS, b"references"))
_REPEATABLE = frozenset(ADDRESS_FIELDS)

# Where a header may end: a blank line, or a delimiter line that comes before one.
_HEADER_END = re.compile(rb"\n(?:(\r?\n)|--)")


def parse(content: bytes) -> list[Part]:
    """The parts in preorder, the message itself being the first.   RFC 2046 5.1, 5.2"""
    return _Parser(content).parts


class _Parser:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.parts: list[Part] = []
        self.stack: list[Part] = []  # multiparts and messages that are not ended
        self.open: dict[bytes, int] = {}  # boundary of an open multipart: its level in the stack
        start: int | None = 0
        while start is not None:
            start = self._part(start)

    # -- one part ------------------------------------------------------------------------------

    def _part(self, start: int) -> int | None:
        """Read the part whose header starts there; where the next starts, None after the last."""
        if len(self.parts) >= MAX_PARTS - 1:
            self.parts.append(Part(Kind.BASIC, OCTET_STREAM, start, start, {}))
            self._end(0, len(self.content))
            return None
        parent = self.stack[-1] if self.stack else None
        part = self._header(start, parent)
        self.parts.append(part)
        if part.kind is Kind.MESSAGE:
            self.stack.append(part)
            if encoding_of(part.encoding) in (Encoding.IDENTITY, Encoding.UNKNOWN):
                return part.body
            # Encoded, against RFC 2046 5.2.1, or as RFC 6532 3.7 allows for message/global. It
            # must be shown with an envelope and a body, and offsets cannot point into what is not
            # there: no fields, and opaque octets in that same encoding, so that n.1 is true.
            child = Part(Kind.BASIC, OCTET_STREAM, part.body, part.body, {})
            child.encoding = part.encoding
            self.parts.append(child)
        elif part.kind is Kind.MULTIPART:
            self._open(part)
        return self._next(part.body)

    def _header(self, start: int, parent: Part | None) -> Part:
        """The part as its header describes it."""
        body = self._header_end(start)
        whole = parent is None or parent.kind is Kind.MESSAGE
        fields = _read(self.content[start:body], _MESSAGE if whole else _MIME)
        default = TEXT_PLAIN
        if parent and parent.kind is Kind.MULTIPART and parent.media.subtype.lower() == b"digest":
            default = RFC822  # RFC 2046 5.1.5
        raw = fields.get(b"content-type")
        media = media_of(raw, default) if raw else default
        kind = _kind(media)
        if kind in (Kind.MULTIPART, Kind.MESSAGE) and len(self.stack) >= MAX_DEPTH:
            kind, media = Kind.BASIC, OCTET_STREAM
        part = Part(kind, media, start, body, fields)
        if raw := fields.get(b"content-transfer-encoding"):
            words = strip_comments(unfold(raw)).strip(b' \t;"').split(None, 1)
            part.encoding = words[0].rstrip(b';"') if words else part.encoding
        return part

    def _header_end(self, start: int) -> int:
        """After the blank line, or at a delimiter line, or at the end of the message."""
        content = self.content
        if not start and content[:2].startswith((b"\r\n", b"\n")):
            return content.index(b"\n") + 1
        at = max(start - 1, 0)  # the line feed before the header may be followed by a blank line
        while found := _HEADER_END.search(content, at):
            if found[1]:
                return found.end()
            at = found.end()
            if self.open and self._delimiter_at(found.start()):
                return self._before(found.start(), start)
        return len(content)

    def _before(self, line: int, least: int) -> int:
        """Where that ends which stands before a delimiter, whose line feed is at `line`: Rule 2.

        The header's or body's start, if it has not even a line of its own.
        """
        return max(least, line - (self.content[line - 1 : line] == b"\r"))

    # -- delimiters ----------------------------------------------------------------------------

    def _open(self, part: Part) -> None:
        """Put a multipart on the stack, and its delimiter among those looked for."""
        boundary = part.media.param(b"boundary").rstrip(b" \t\r\n")
        if boundary and len(boundary) < MAX_LINE - 4:
            part.boundary = boundary
            part.shadowed = self.open.get(boundary)
            self.open[boundary] = len(self.stack)
        self.stack.append(part)

    def _close(self, part: Part) -> None:
        """No longer look for its delimiter."""
        if part.boundary:
            if part.shadowed is None:
                del self.open[part.boundary]
            else:
                self.open[part.boundary] = part.shadowed
            part.boundary = b""

    def _next(self, body: int) -> int | None:
        """Go to the next part after the one whose body starts there, ending those in between."""
        at = max(body - 1, 0)
        while found := self._delimiter(at):
            line, after, level, closing = found
            self._end(level + 1, self._before(line, 0))
            if not closing:
                return after
            # What follows up to the parent's delimiter is the epilogue.   RFC 2046 5.1.1
            self._close(self.stack[level])
            at = after - 1
        self._end(0, len(self.content))
        return None

    def _delimiter(self, at: int) -> tuple[int, int, int, bool] | None:
        """The first delimiter line of an open multipart, from a line feed at or after `at`.

        The line feed before it, where the next line starts, the multipart's level, and whether
        it is the closing one.
        """
        if not self.open:
            return None
        find = self.content.find
        # With one multipart open, skip the other lines that start with "--" (patches, rules).
        needle = b"\n--" + next(iter(self.open)) if len(self.open) == 1 else b"\n--"
        while (at := find(needle, at)) >= 0:
            if found := self._delimiter_at(at):
                return at, *found
            at += 3
        return None

    def _delimiter_at(self, at: int) -> tuple[int, int, bool] | None:
        """Whether "\\n--" at that place starts a delimiter line: a boundary and nothing else but
        white space, so that one boundary may begin with another."""
        start, content = at + 3, self.content
        end = content.find(b"\n", start, start + MAX_LINE)
        if end < 0:
            end = len(content)
            if end - start > MAX_LINE:
                return None
        line = content[start:end].rstrip(b" \t\r")
        level = self.open.get(line)
        if level is not None:
            return min(end + 1, len(content)), level, False
        if line[-2:] == b"--" and (level := self.open.get(line[:-2])) is not None:
            return min(end + 1, len(content)), level, True
        return None

    def _end(self, level: int, end: int) -> None:
        """End the last leaf and all that is on the stack from that level on."""
        parts, stack = self.parts, self.stack
        last = parts[-1]
        if last.kind not in (Kind.MULTIPART, Kind.MESSAGE) and not last.next:
            last.end = max(end, last.body)
            last.next = len(parts)
        while len(stack) > level:
            part = stack.pop()
            self._close(part)
            part.end = max(end, part.body)
            if part.kind is Kind.MULTIPART and parts[-1] is part:
                self._only_child(part)
            part.next = len(parts)

    def _only_child(self, part: Part) -> None:
        """Rule 4."""
        child = Part(Kind.TEXT, TEXT_PLAIN, part.body, part.body, {})
        child.end = part.end
        self.parts.append(child)
        child.next = len(self.parts)


def _kind(media: Media) -> Kind:
    match media.type.lower():
        case b"text":
            return Kind.TEXT
        case b"multipart":
            return Kind.MULTIPART
        case b"message":
            # message/global is to message/rfc822 what UTF-8 is to ASCII.   RFC 6532 3.7
            known = media.subtype.lower() in (b"rfc822", b"global")
            return Kind.MESSAGE if known else Kind.NOTICE
    return Kind.BASIC


def _read(header: bytes, pattern: re.Pattern[bytes]) -> dict[bytes, bytes]:
    """The values of the fields the pattern knows: the first of each, address fields joined.

    Each is cut at MAX_FIELD octets.
    """
    found: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    for match in pattern.finditer(lowered(header)):
        name = match[1]
        if name not in found:
            found[name] = _value(header, match)
        elif name in _REPEATABLE:
            values = more.setdefault(name, [])
            if len(values) < MAX_REPEATED:
                values.append(_value(header, match))
    for name, values in more.items():
        found[name] = b",".join(filter(None, (found[name], *values)))
    return found


def _value(header: bytes, match: re.Match[bytes]) -> bytes:
    start, end = match.span(2)  # in the lowered copy
    if end - start <= MAX_FIELD:
        return header[start - 1 : end - 1].strip(b" \t\r\n")
    value = header[start - 1 : start - 1 + MAX_FIELD]
    if match[1] in _REPEATABLE:
        value = value.rpartition(b",")[0]  # no half addresses
    return value.strip(b" \t\r\n")


# -- packed ------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A part in packed form."""

    kind: int
    encoding: int
    charset: int  # index in the list of names that follows the rows
    next: int  # index of the row after its last descendant
    header: int
    body: int
    end: int


_COUNT = struct.Struct("<I")
_ROW = struct.Struct("<BBHIQQQ")  # 32 octets
MAX_CHARSET = 64
"""Octets of a charset's name; longer ones are unknown anyhow."""


def pack(parts: list[Part]) -> bytes:
    """Number of rows, the rows in preorder, names of charsets with NUL between them."""
    charsets: dict[bytes, int] = {b"": 0}
    rows = [_COUNT.pack(len(parts))]
    for part in parts:
        charset = part.media.param(b"charset") if part.kind is Kind.TEXT else b""
        if len(charset) > MAX_CHARSET or b"\0" in charset:
            charset = b""
        rows.append(
            _ROW.pack(
                part.kind,
                encoding_of(part.encoding),
                charsets.setdefault(charset.lower(), len(charsets)),
                part.next,
                part.header,
                part.body,
                part.end,
            )
        )
    return b"".join(rows) + b"\0".join(charsets)


def unpack(packed: bytes) -> tuple[list[Row], list[str]]:
    """The rows, and the names of charsets; the first is empty: none was declared."""
    (count,) = _COUNT.unpack_from(packed)
    end = _COUNT.size + count * _ROW.size
    rows = [Row._make(row) for row in _ROW.iter_unpack(packed[_COUNT.size : end])]
    return rows, packed[end:].decode("latin-1").split("\0")


def row(packed: bytes, index: int) -> Row:
    """One row, without unpacking the others."""
    return Row._make(_ROW.unpack_from(packed, _COUNT.size + index * _ROW.size))
