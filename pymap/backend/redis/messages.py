"""Messages as they lie in Redis: one hash each, shared by all copies.

    header              the octets up to the blank line that ends the header, if they fit
    body, body1, ...    all the others, in pieces of CHUNK octets
    digest              what is derived from them

The header stands by itself so that SEARCH and FETCH of header fields need not read the rest, and
nothing is kept twice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from pymap.backend.api import Digest
from pymap.backend.redis.connection import Argument

__all__ = ["CHUNK", "Request", "body_fields", "pack_digest", "read_digest", "write"]

CHUNK = 512 * 1024
DIGEST_VERSION = 1
_DIGEST = struct.Struct("<BIIIQI")

Request = tuple[Argument, ...]


def write(key: str, content: bytes, digest: Digest) -> tuple[list[Request], int]:
    """The commands that write a message, each bounded, and how many fields it then has."""
    cut = digest.header_size if digest.header_size <= CHUNK else 0
    fields: list[tuple[str, bytes]] = [
        ("digest", pack_digest(digest, cut)),
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
    """`cut` is the size of the field `header`."""
    envelope, structure, parts, header_size = digest
    head = _DIGEST.pack(DIGEST_VERSION, len(envelope), len(structure), len(parts), header_size, cut)
    return b"".join((head, envelope, structure, parts))


def read_digest(packed: bytes) -> tuple[Digest, int] | None:
    """The digest and the size of the field `header`; None if another version has written it."""
    if packed[0] != DIGEST_VERSION:
        return None
    _, envelope, structure, parts, header_size, cut = _DIGEST.unpack_from(packed)
    at = _DIGEST.size
    ends: Sequence[int] = (at, at + envelope, at + envelope + structure)
    return (
        Digest(
            packed[ends[0] : ends[1]],
            packed[ends[1] : ends[2]],
            packed[ends[2] : ends[2] + parts],
            header_size,
        ),
        cut,
    )
