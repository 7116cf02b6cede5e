"""Comparing text as SEARCH does: i;unicode-casemap, on decoded text.   RFC 5051, RFC 9051 6.4.4"""

from __future__ import annotations

import re
import unicodedata

from pymap import mime

__all__ = ["casemap", "header_contains", "in_header_block"]

_ADDRESS_FIELDS = frozenset(("from", "to", "cc", "bcc", "sender", "reply-to"))
_FIELD_BREAK = re.compile(rb"\r?\n(?![ \t])")
_RICH = re.compile(rb'=\?|[^\x00-\x7f]|["(\\\r\n]')


class _Casemap(dict[int, str]):
    """By code point, what it is compared as; worked out once for each that is met."""

    def __missing__(self, code: int) -> str:
        # Titlecase, then decompose.   RFC 5051 2
        self[code] = mapped = unicodedata.normalize("NFKD", chr(code).title())
        return mapped


_CASEMAP = _Casemap()


def casemap(text: str) -> str:
    """Two texts are the same to SEARCH when they are mapped to the same.   RFC 5051"""
    return text.upper() if text.isascii() else text.translate(_CASEMAP)


def header_contains(header: bytes, name: str, needle: str) -> bool:
    """Whether a field of that name contains `needle`, which is casemapped. An empty one asks
    whether the field is there at all.   RFC 9051 6.4.4, HEADER"""
    values = mime.fields(header, name)
    if not needle:
        return bool(values)
    for raw in values:
        if not _RICH.search(raw):
            if needle in raw.decode("ascii").upper():
                return True
            continue
        if needle in casemap(mime.decode_text(raw)):
            return True
        # The same person may be written "Foo, Fred" <fred@x>, fred@x (Fred Foo) or encoded:
        # look at names and addresses as they are meant, too.
        if name.lower() in _ADDRESS_FIELDS and any(
            needle in casemap(shown) for shown in _shown(raw)
        ):
            return True
    return False


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
    return any(needle in casemap(mime.decode_text(field)) for field in _FIELD_BREAK.split(header))
