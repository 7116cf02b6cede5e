"""Comparing text as SEARCH does: decoded, by i;unicode-casemap.   RFC 9051 6.4.4, RFC 5255 4.2"""

from __future__ import annotations

import re

from pymap import mime
from pymap.mime.casemap import casemap

__all__ = ["header_contains", "in_header_block"]

_ADDRESS_FIELDS = frozenset(("from", "to", "cc", "bcc", "sender", "reply-to"))
_FIELD_BREAK = re.compile(rb"\r?\n(?![ \t])")
_RICH = re.compile(rb'=\?|[^\x00-\x7f]|["(\\\r\n]')


def header_contains(header: bytes, name: str, needle: str) -> bool:
    """Whether a field of that name contains `needle`, which is casemapped. An empty one asks
    whether the field is there at all.   RFC 9051 6.4.4, HEADER"""
    if needle and _cannot_hold(header, needle):
        return False
    values = mime.fields(header, name)
    if not needle:
        return bool(values)
    for raw in values:
        if not _RICH.search(raw):
            if needle in raw.decode("ascii").upper():
                return True
            continue
        if any(needle in casemap(text) for text in mime.text_readings(raw)):
            return True
        # The same person may be written "Foo, Fred" <fred@x>, fred@x (Fred Foo) or encoded:
        # look at names and addresses as they are meant, too.
        if name.lower() in _ADDRESS_FIELDS and any(
            needle in casemap(shown) for shown in _shown(raw)
        ):
            return True
    return False


def _cannot_hold(header: bytes, needle: str) -> bool:
    """Whether no field at all can contain `needle`, which a plain header tells at once: one where
    nothing is encoded, and no blank of the needle may have been a fold."""
    return (
        header.isascii()
        and b"=?" not in header
        and " " not in needle
        and (not needle.isascii() or needle.encode("ascii") not in header.upper())
    )


def _shown(raw: bytes) -> list[str]:
    shown = []
    for address in mime.addresses(raw):
        name = mime.decode_text(address.name or b"")
        mailbox, host = mime.decode_text(address.mailbox or b""), address.host
        spec = f"{mailbox}@{mime.decode_text(host)}" if host is not None else mailbox
        shown.append(f"{name} <{spec}>" if name else spec)
    return shown


def in_header_block(header: bytes, needle: str) -> bool:
    """Whether any line of a header contains `needle`, which is casemapped."""
    if not _RICH.search(header.replace(b"\r\n", b"")):
        return needle in header.decode("ascii").upper()
    return any(
        needle in casemap(text)
        for field in _FIELD_BREAK.split(header)
        for text in mime.text_readings(field)
    )
