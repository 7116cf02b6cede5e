"""Structure of one message: offsets into its octets, and what IMAP says of them.

Rule 1: Nothing is ever written anew. Every section is a slice of the message as it arrived.
Rule 2: Any octets parse, none raises; what makes no sense becomes the nearest thing that does.
Rule 3: Time is linear in size, depth and number of parts are bounded (`parse`).
Rule 4: A message is parsed once, by `digest`; sections and searches use its packed parts.
"""

from __future__ import annotations

from typing import NamedTuple

from .address import MAX_ADDRESSES, Address, addresses
from .bodystructure import body_structure
from .charset import decode_text, text_readings
from .date import sent_date, sent_datetime
from .encoding import UnknownEncoding
from .envelope import envelope as render_envelope
from .header import fields, header_fields
from .parse import MAX_DEPTH, MAX_PARTS, Kind, pack, parse
from .preview import preview as preview_of
from .section import binary, decodable, find, part_headers, search_texts, section
from .summary import pack_summary
from .summary import summary as summary_of

__all__ = [
    "MAX_ADDRESSES",
    "MAX_DEPTH",
    "MAX_PARTS",
    "Address",
    "Digest",
    "UnknownEncoding",
    "addresses",
    "binary",
    "body",
    "decodable",
    "decode_text",
    "digest",
    "fields",
    "header_fields",
    "part_headers",
    "part_structure",
    "search_texts",
    "section",
    "sent_date",
    "sent_datetime",
    "text_readings",
]


class Digest(NamedTuple):
    """What is kept beside a message, so that it need not be parsed again."""

    envelope: bytes
    """The value of ENVELOPE, ready for the wire."""
    bodystructure: bytes
    """The value of BODYSTRUCTURE, with extension data."""
    parts: bytes
    """Packed offsets of all parts, for `section`, `binary` and `search_texts`; see `parse.pack`."""
    header_size: int
    """Octets of the header with the blank line that ends it."""
    summary: bytes
    """What SORT and THREAD compare, packed; see `summary.pack_summary`."""
    preview: bytes
    """The value of PREVIEW: the first words, in UTF-8."""


def digest(content: bytes | bytearray | memoryview) -> Digest:
    """Parse a message, once. A bytearray or memoryview is copied first (one memcpy)."""
    octets = content if isinstance(content, bytes) else bytes(content)
    parts = parse(octets)
    root = parts[0]
    return Digest(
        envelope=render_envelope(root.fields),
        bodystructure=body_structure(octets, parts),
        parts=pack(parts),
        header_size=root.body,
        summary=pack_summary(summary_of(root.fields)),
        preview=preview_of(octets, parts),
    )


def body(content: bytes | bytearray | memoryview) -> bytes:
    """The value of BODY: BODYSTRUCTURE without extension data.   RFC 9051 7.5.2

    Parses again: few clients ask for it, and keeping it would double what is kept.
    """
    octets = content if isinstance(content, bytes) else bytes(content)
    return body_structure(octets, parse(octets), extended=False)


def part_structure(
    content: bytes,
    digest_parts: bytes,
    path: tuple[int, ...],
    decoded: bytes | memoryview | None = None,
) -> bytes | None:
    """The value of BODYSTRUCTURE for one part, None if there is no such part. With `decoded`, what
    `binary` made of it, as it would be had it come so.   RFC 5524 3.1"""
    index = find(digest_parts, path)
    if index is None:
        return None
    parts = parse(content)
    part = parts[index]
    if decoded is None or not path or part.kind in (Kind.MULTIPART, Kind.MESSAGE):
        return body_structure(content, parts, root=index)
    part.encoding, part.body, part.end, part.next = b"BINARY", 0, len(decoded), 1
    return body_structure(bytes(decoded), [part])
