"""Octets to text: charsets, and the encoded-words of headers. Nothing here raises."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from encodings.aliases import aliases

from .encoding import base64_decode

# Names come from the message. Only those of this table reach `codecs`: the registry remembers
# every unknown name for good, and some codecs unpack archives (zlib) or take quadratic time (idna).
_NOT_TEXT = {
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec"),
    *("zlib_codec", "mbcs", "oem", "idna", "punycode", "unicode_escape", "raw_unicode_escape"),
}
_CODECS = {
    name: codec
    for pair in (
        *aliases.items(),
        *((codec, codec) for codec in aliases.values()),
        *((codec, codec) for codec in ("koi8_r", "koi8_u", "koi8_t", "cp720", "cp737", "cp856")),
        *((codec, codec) for codec in ("cp874", "cp875", "cp1006", "mac_arabic", "mac_farsi")),
        ("ks_c_5601_1987", "cp949"),
        ("x_sjis", "cp932"),
        ("x_gbk", "gb18030"),
        ("unicode_1_1_utf_7", "utf_7"),
        ("cp_850", "cp850"),
    )
    for name, codec in [pair]
    if codec not in _NOT_TEXT
}
# Senders use the larger set and write the name of the smaller.
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949"}

# encoded-word = "=?" charset "?" encoding "?" encoded-text "?=", RFC 2047 2; charset may carry
# "*language", RFC 2231 5. Blanks inside are forbidden but met. "?" ends each piece, so that no
# attempt looks further than three of them.
_WORD = re.compile(rb"=\?([^?\s]*+)\?([bBqQ])\?([^?]*+)\?=")


def decode(octets: bytes, charset: str) -> str:
    """Text in that charset; if it is unknown or not named, UTF-8, and if it is not, Latin-1."""
    codec = _codec(charset)
    if codec == "utf_8":
        return plain(octets)
    text = octets.decode(codec, "replace")
    if codec == "utf_7":  # the only one that lets lone surrogates through
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text


def _codec(charset: str) -> str:
    codec = _CODECS.get(charset.lower().replace("-", "_"), "")
    return "utf_8" if codec in ("", "ascii") else _SUPERSETS.get(codec, codec)


def readings(octets: bytes, charset: str = "") -> list[str]:
    """What SEARCH looks for a text in: `decode`, and where that cannot be right, UTF-8 as well.

    A text that is not valid in its charset is to be compared octet by octet (RFC 5255 4.6 (c)):
    what that would find is found here, whatever is broken beside it; and more, for one bad octet
    is no reason to look at the case of letters.
    """
    try:
        return [_strictly(octets, charset)]
    except UnicodeError:
        return [decode(octets, charset), _as_utf8(octets, charset)]


def _strictly(octets: bytes, charset: str) -> str:
    """Raises UnicodeError."""
    codec = _codec(charset)
    text = octets.decode(codec)
    if codec == "utf_7":
        text.encode("utf-8")  # as lone surrogates cannot be
    return text


def _as_utf8(octets: bytes, _charset: str) -> str:
    return octets.decode("utf-8", "replace")


def plain(octets: bytes) -> str:
    """Octets of which nothing is known: UTF-8 if they can be, otherwise Latin-1."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def decode_text(raw: bytes) -> str:
    """A header value as text: unfolded, encoded-words decoded, raw UTF-8 accepted.

    White space between two encoded-words is dropped (RFC 2047 6.2), and neighbours of one charset
    are joined before decoding, since many senders cut characters in two (against section 5).
    They are decoded inside quoted strings too (against section 5, as every reader does).
    """
    return _decoded(raw, decode)


def text_readings(raw: bytes) -> list[str]:
    """`readings` of a header value."""
    try:
        return [_decoded(raw, _strictly)]
    except UnicodeError:
        return [decode_text(raw), _decoded(raw, _as_utf8)]


def _decoded(raw: bytes, read: Callable[[bytes, str], str]) -> str:
    if b"\n" in raw:
        # What unfolding takes away: the CRLF, or LF, before a blank.   RFC 5322 2.2.3
        raw = raw.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
        raw = raw.replace(b"\n ", b" ").replace(b"\n\t", b"\t")
    if b"=?" not in raw:
        return read(raw, "")
    pieces: list[str] = []
    run: list[bytes] = []
    charset, at = b"", 0
    for word in _WORD.finditer(raw):
        gap = raw[at : word.start()]
        name = word[1].partition(b"*")[0].lower()
        if run and (name != charset or (gap and not gap.isspace())):
            pieces.append(read(b"".join(run), charset.decode("latin-1")))
            run = []
            if not gap or gap.isspace():
                gap = b""
        elif run:
            gap = b""
        if gap:
            pieces.append(read(gap, ""))
        charset, at = name, word.end()
        run.append(_decode_word(word[2], word[3]))
    if run:
        pieces.append(read(b"".join(run), charset.decode("latin-1")))
    pieces.append(read(raw[at:], ""))
    return "".join(pieces)


def _decode_word(encoding: bytes, text: bytes) -> bytes:
    """The "B" and "Q" encodings.   RFC 2047 4.1, 4.2"""
    if encoding in b"bB":
        return base64_decode(text)
    return binascii.a2b_qp(text, header=True)
