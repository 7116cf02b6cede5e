"""nstring, as the server sends it."""

from __future__ import annotations

import re

MAX_STRING = 65_536
"""Octets of one string in ENVELOPE and BODYSTRUCTURE; longer ones are cut."""

MAX_QUOTED = 1_000
"""Octets of a quoted string; longer ones go as literals, for clients with short line buffers."""

# Not all of TEXT-CHAR: other control characters are legal in quoted strings too, but literals
# are safer. TAB remains after unfolding. 8-bit octets need UTF8=ACCEPT or rev2 to be quoted
# (RFC 9051 4.3, RFC 6855 3) and are legal in literals everywhere.
_PLAIN = re.compile(rb"[\t !#-\[\]-~]*+")
_QUOTABLE = re.compile(rb"[\t -~]*+")


def string(value: bytes) -> bytes:
    """string = quoted / literal.   RFC 9051 9"""
    if len(value) <= MAX_QUOTED:
        if _PLAIN.fullmatch(value):
            return b'"%b"' % value
        if _QUOTABLE.fullmatch(value):
            return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    # CHAR8 = %x01-ff: NUL is never sent; as Dovecot does, 0x80 stands for it.   RFC 9051 9
    value = value[:MAX_STRING].replace(b"\0", b"\x80")
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    """nstring = string / nil.   RFC 9051 9"""
    return b"NIL" if value is None else string(value)
