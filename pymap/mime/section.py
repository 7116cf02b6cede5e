"""BODY[section] and BINARY[section], and the texts that SEARCH looks at: slices of the message.

All work from the packed parts (`parse.pack`). Results that are memoryviews keep the message
alive, and a bytearray from being resized.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pymap.wire.types import Section, SectionText

from .charset import readings, text_readings
from .encoding import Encoding, UnknownEncoding, undo
from .header import header_fields
from .parse import Kind, Row, row, unpack

Content = bytes | bytearray | memoryview

# The look-behind comes after the line feed, so that memchr finds the candidates.
_BARE_LF = re.compile(rb"\n(?<!\r\n)")
_NUL = re.compile(rb"\0")


def section(content: Content, digest_parts: bytes, section: Section) -> bytes | memoryview | None:
    """The octets of BODY[section], or None if there is no such part.

    Without a copy, HEADER.FIELDS excepted.   RFC 9051 6.4.5.1
    """
    path, text, names = section
    if not path:
        if text is None:
            return content if isinstance(content, bytes) else memoryview(content)
        found = row(digest_parts, 0) if text is not SectionText.MIME else None
    else:
        index = find(digest_parts, path)
        if index is None:
            return None
        found = row(digest_parts, index)
        if text is None:
            return memoryview(content)[found.body : found.end]
        if text is SectionText.MIME:
            return memoryview(content)[found.header : found.body]
        # "provided that the numeric part specifier refers to a part of type MESSAGE/RFC822 or
        # MESSAGE/GLOBAL"; what they name is the embedded message's.   RFC 9051 6.4.5.1
        found = row(digest_parts, index + 1) if found.kind == Kind.MESSAGE else None
    if found is None:
        return None
    if text is SectionText.TEXT:
        return memoryview(content)[found.body : found.end]
    header = memoryview(content)[found.header : found.body]
    if text is SectionText.HEADER:
        return header
    return header_fields(bytes(header), names, text is SectionText.HEADER_FIELDS_NOT)


def binary(
    content: Content, digest_parts: bytes, path: tuple[int, ...]
) -> bytes | memoryview | None:
    """The octets of BINARY[path], or None if there is no such part.

    An empty path is the message as it stands: the encoding its header names is that of part 1.
    Raises UnknownEncoding.   RFC 9051 6.4.5, 7.5.2, RFC 3516 4.2
    """
    if not path:
        return content if isinstance(content, bytes) else memoryview(content)
    index = find(digest_parts, path)
    if index is None:
        return None
    found = row(digest_parts, index)
    octets = memoryview(content)[found.body : found.end]
    if found.encoding == Encoding.UNKNOWN:
        raise UnknownEncoding
    if found.kind == Kind.MULTIPART:
        # Only the identity encodings are allowed here (RFC 2045 6.4), and parts were found in
        # it as it stands.
        return octets
    decoded = undo(octets, Encoding(found.encoding))
    if found.kind == Kind.TEXT:
        return _with_crlf(decoded)
    return decoded


def decodable(digest_parts: bytes, path: tuple[int, ...]) -> bool:
    """Whether `binary` can undo the encoding of that part; nothing is easier than no part."""
    index = find(digest_parts, path) if path else None
    return index is None or row(digest_parts, index).encoding != Encoding.UNKNOWN


def part_headers(content: Content, digest_parts: bytes) -> Iterator[bytes]:
    """The headers of the message and of its parts. That of an embedded message is in
    `search_texts`."""
    rows, _ = unpack(digest_parts)
    for found in rows:
        if found.header < found.body:
            yield bytes(memoryview(content)[found.header : found.body])


def search_texts(content: Content, digest_parts: bytes) -> Iterator[str]:
    """What SEARCH BODY looks at, one str a part, so that no match is lost on a border; of a part
    that is not valid in its charset, two.

    Text and message/* parts decoded, and the headers of embedded messages; not the message's own
    header. As Dovecot does, other types are left out.
    """
    rows, charsets = unpack(digest_parts)
    view = memoryview(content)
    for index, found in enumerate(rows):
        if found.kind == Kind.MESSAGE:
            embedded = rows[index + 1]
            yield from text_readings(bytes(view[embedded.header : embedded.body]))
        elif found.kind in (Kind.TEXT, Kind.NOTICE):
            octets = undo(view[found.body : found.end], Encoding(found.encoding))
            yield from readings(bytes(octets), charsets[found.charset])


def find(packed: bytes, path: tuple[int, ...]) -> int | None:
    """The row of that part. Cost is in the numbers of the path, not in the parts below them."""
    index = 0
    at_root = True  # of a message: its parts, or itself as part 1
    for number in path:
        found = row(packed, index)
        if not at_root and found.kind == Kind.MESSAGE:
            index += 1
            found, at_root = row(packed, index), True
        if found.kind == Kind.MULTIPART:
            child = _child(packed, index, found, number)
            if child is None:
                return None
            index = child
        elif not at_root or number != 1:
            return None
        at_root = False
    return index


def _child(packed: bytes, parent: int, found: Row, number: int) -> int | None:
    """The row of a multipart's child; the first has number 1."""
    index = parent + 1
    for _ in range(number - 1):
        if index >= found.next:
            return None
        index = row(packed, index).next
    return index if number > 0 and index < found.next else None


def _with_crlf(octets: bytes | memoryview) -> bytes | memoryview:
    """Textual parts are sent with CRLF, however they are stored.   RFC 9051 7.5.2

    Text with NUL (UTF-16) is not line-oriented, and inserting CR would spoil it.
    """
    if not _BARE_LF.search(octets) or _NUL.search(octets):
        return octets
    # Twice `replace` is fifty times as fast as one `sub`.
    return bytes(octets).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
