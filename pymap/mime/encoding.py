"""Content-Transfer-Encodings, undone.   RFC 2045 6"""

from __future__ import annotations

import binascii
import re
from enum import IntEnum


class UnknownEncoding(ValueError):
    """A Content-Transfer-Encoding that nobody knows: NO [UNKNOWN-CTE].   RFC 9051 6.4.5"""


class Encoding(IntEnum):
    """What undoes it; the numbers are in packed parts and may not change."""

    IDENTITY = 0
    BASE64 = 1
    QUOTED_PRINTABLE = 2
    UNKNOWN = 3


_NAMES = {
    b"7bit": Encoding.IDENTITY,
    b"8bit": Encoding.IDENTITY,
    b"binary": Encoding.IDENTITY,
    b"base64": Encoding.BASE64,
    b"quoted-printable": Encoding.QUOTED_PRINTABLE,
}

_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)
_BLANK = (b" ", b"\t")
_BLANK_BEFORE_END = (b" \n", b"\t\n", b" \r\n", b"\t\r\n")
# The look-behind keeps long runs of blanks linear: only their first octet starts an attempt.
_TRAILING = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")


def encoding_of(name: bytes) -> Encoding:
    """By its name; those are not case-sensitive.   RFC 2045 6.1"""
    return _NAMES.get(name.lower(), Encoding.UNKNOWN)


def undo(octets: bytes | memoryview, encoding: Encoding) -> bytes | memoryview:
    """The octets that were encoded, or of damaged ones as much as can be read.

    Those of an identity or unknown encoding come back as they are.
    """
    if encoding is Encoding.BASE64:
        return base64_decode(octets)
    if encoding is Encoding.QUOTED_PRINTABLE:
        # "any trailing white space on a line must be deleted"   RFC 2045 6.7 (3)
        octets = bytes(octets)
        if octets[-1:] in _BLANK or any(blank in octets for blank in _BLANK_BEFORE_END):
            octets = _TRAILING.sub(b"", octets)
        return binascii.a2b_qp(octets)
    return octets


def base64_decode(octets: bytes | memoryview) -> bytes:
    """Other characters than the alphabet's are ignored (RFC 2045 6.8); a cut end is no error."""
    try:
        return binascii.a2b_base64(octets)
    except binascii.Error:
        digits = bytes(octets).translate(None, _NOT_BASE64)
        if len(digits) % 4 == 1:
            digits = digits[:-1]
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
