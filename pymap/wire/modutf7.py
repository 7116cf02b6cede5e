"""Modified UTF-7: how IMAP4rev1 writes mailbox names in ASCII.   RFC 3501 5.1.3

Rule 1: printable ASCII stands for itself, except that ``&`` is written ``&-``.
Rule 2: everything else is UTF-16BE in base64 with ``,`` for ``/`` and no padding, between ``&``
        and ``-``.
Rule 3: one name has one form. What could have been written otherwise is refused, so that two
        spellings never mean the same mailbox.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

__all__ = ["decode", "encode"]

_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]+")
_NOT_PRINTABLE_RAW = re.compile(rb"[^\x20-\x7e]")
_SHIFTED = re.compile(rb"&([^-]*)(-?)")


def encode(name: str) -> bytes:
    """A name that holds no lone surrogates, as modified UTF-7."""
    if name.isascii() and name.isprintable():
        return name.replace("&", "&-").encode("ascii")
    return _NOT_PRINTABLE.sub(_shift, name.replace("&", "&-")).encode("ascii")


def _shift(run: re.Match[str]) -> str:
    packed = b2a_base64(run.group().encode("utf-16-be"), newline=False)
    return "&" + packed.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def decode(raw: bytes) -> str:
    """The name that `raw` stands for. Raises ValueError if it is not written as in rules 1-3."""
    if _NOT_PRINTABLE_RAW.search(raw):
        raise ValueError("a character that is not printable ASCII")
    if b"&" not in raw:
        return raw.decode("ascii")
    name = _SHIFTED.sub(_unshift, raw).decode("utf-8")
    if encode(name) != raw:
        raise ValueError("not the one form that modified UTF-7 has for this name")
    return name


def _unshift(run: re.Match[bytes]) -> bytes:
    packed, end = run.groups()
    if not end:
        raise ValueError("& without its -")
    if not packed:
        return b"&"
    if b"/" in packed:
        raise ValueError("/ inside a shifted run")
    try:
        units = a2b_base64(packed.replace(b",", b"/") + b"=" * (-len(packed) % 4))
    except Base64Error as error:
        raise ValueError(str(error)) from error
    return units.decode("utf-16-be").encode("utf-8")
