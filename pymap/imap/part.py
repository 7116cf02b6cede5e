"""The octets that an IMAP URL names, for CATENATE and URLFETCH."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from pymap import mime
from pymap.backend.api import Digest, Mailbox
from pymap.backend.errors import MailboxGone
from pymap.imap.session import THREAD
from pymap.wire.types import Section

__all__ = ["Read", "cut", "named", "read"]


class Read(NamedTuple):
    """A message that was read."""

    content: bytes
    digest: Digest


async def read(mailbox: Mailbox, uid: int) -> Read | None:
    """None if there is no such message, or no longer."""
    try:
        (digest,), (content,) = await mailbox.digests([uid]), await mailbox.contents([uid])
    except MailboxGone:
        return None
    return None if digest is None or content is None else Read(content, digest)


async def named(message: Read, section: Section) -> bytes | memoryview | None:
    """What BODY.PEEK[section] gives, None if there is no such part. It may be a slice, which keeps
    the whole message in memory."""
    content, parts = message.content, message.digest.parts
    if section.fields and len(content) > THREAD:
        return await asyncio.to_thread(mime.section, content, parts, section)
    return mime.section(content, parts, section)


def cut(octets: bytes | memoryview, partial: tuple[int, int | None] | None) -> bytes | memoryview:
    """Some of the octets; past the end there are none.   RFC 5092 6, RFC 9051 6.4.5"""
    if partial is None:
        return octets
    offset, length = partial
    return memoryview(octets)[offset : None if length is None else offset + length]
