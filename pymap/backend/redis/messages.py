"""Messages as they lie in Redis: one hash each, shared by all copies.

    header              the octets up to the blank line that ends the header, if they fit
    body, body1, ...    all the others, in pieces of CHUNK octets
    digest              what is derived from them
    summary             the part of it that SORT and THREAD ask for of all messages

The header stands by itself so that SEARCH and FETCH of header fields need not read the rest, and
nothing is kept twice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pymap.backend.api import Digest
from pymap.backend.redis.connection import Argument

__all__ = ["CHUNK", "Request", "body_fields", "pack_digest", "read_digest", "write"]

CHUNK = 512 * 1024
DIGEST_VERSION = 2  # to be raised whenever `mime.digest` gives another answer for the same octets
_DIGEST = struct.Struct("<BIIIIQI")

Request = tuple[Argument, ...]


def write(key: str, content: bytes, digest: Digest) -> tuple[list[Request], int]:
    """The commands that write a message, each bounded, and how many fields it then has."""
    cut = digest.header_size if digest.header_size <= CHUNK else 0
    fields: list[tuple[str, bytes]] = [
        ("digest", pack_digest(digest, cut)),
        ("summary", digest.summary),
        ("header", content[:cut]),
    ]
    fields += zip(
        body_fields(len(content) - cut),
        (content[at : at + CHUNK] for at in range(cut, len(content), CHUNK)),
        strict=False,
    )
    requests: list[Request] = []
    request: list[Argument] = []
    size = 0
    for field, octets in fields:
        if request and size + len(octets) > CHUNK:
            requests.append(("HSET", key, *request))
            request, size = [], 0
        request += [field, octets]
        size += len(octets)
    requests.append(("HSET", key, *request))
    return requests, len(fields)


def body_fields(size: int) -> Iterator[str]:
    """The fields of a body of that size."""
    for at in range((size + CHUNK - 1) // CHUNK):
        yield f"body{at or ''}"


def pack_digest(digest: Digest, cut: int) -> bytes:
    """All but the summary. `cut` is the size of the field `header`."""
    texts = (digest.envelope, digest.bodystructure, digest.parts, digest.preview)
    head = _DIGEST.pack(DIGEST_VERSION, *map(len, texts), digest.header_size, cut)
    return b"".join((head, *texts))


def read_digest(packed: bytes, summary: bytes) -> tuple[Digest, int] | None:
    """The digest and the size of the field `header`; None if another version has written it."""
    if packed[0] != DIGEST_VERSION:
        return None
    _, *lengths, header_size, cut = _DIGEST.unpack_from(packed)
    texts, at = [], _DIGEST.size
    for length in lengths:
        texts.append(packed[at : at + length])
        at += length
    envelope, structure, parts, preview = texts
    return Digest(envelope, structure, parts, header_size, summary, preview), cut
