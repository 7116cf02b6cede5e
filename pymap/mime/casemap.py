"""i;unicode-casemap: which texts are the same, and which comes first.   RFC 5051, RFC 5255 4.6

This is the comparator of SEARCH, SORT and THREAD: I18NLEVEL=1. Keys are compared as Python
compares str, by code point, which orders as octets of UTF-8 do (RFC 5051 2 allows UTF-32 for them).
"""

from __future__ import annotations

import re
from itertools import groupby
from unicodedata import normalize

from .charset import _WORD, _codec, _decode_word, decode_text

UNREADABLE = "\U0010ffff"
"""What stands before the key of a text that could not be read: it comes after all others."""

# Where `upper` is not the titlecase property: digraphs, Georgian, and what has no capital of one
# character. More than these may stand here, at the price of time; a test looks for missing ones.
_NOT_UPPER = re.compile(
    "([\u00df\u0149\u01c4-\u01cc\u01f0-\u01f3\u0390\u03b0\u0587\u10d0-\u10ff"
    "\u1e96-\u1e9a\u1f50-\u1fff\ufb00-\ufb17]+)"
)


def casemap(text: str) -> str:
    """Two texts are equal if they are mapped to the same, and one is in another if its key is in
    the other's key.   RFC 5051 2

    Each character becomes its titlecase property, then what it decomposes to. Done to whole runs,
    which is four times as fast. What was decomposed is also put in canonical order, as section 4
    allows: a letter with two marks is the same in whichever order they were typed.
    """
    if text.isascii():
        return text.upper()
    if "ß" in text:  # the one of these that a whole language uses
        upper = "ß".join([run.upper() for run in text.split("ß")])
    else:
        upper = text.upper()
    # Where `upper` is not the titlecase property, mostly one character has become several.
    if len(upper) == len(text) and not _has_rare(text):
        return normalize("NFKD", upper)
    runs = _NOT_UPPER.split(text)
    runs[::2] = [run.upper() for run in runs[::2]]
    runs[1::2] = ["".join(map(_title, run)) for run in runs[1::2]]
    return normalize("NFKD", "".join(runs))


def _has_rare(text: str) -> bool:
    """Whether there is a character in it of two blocks, Latin and Georgian, where the others of
    _NOT_UPPER are. Octets tell sooner than a pattern does."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        octets = text.encode("utf-8", "surrogatepass")
        return b"\xc7" in octets or b"\xe1\x83" in octets
    return False


def _title(character: str) -> str:
    """The titlecase property of UnicodeData.txt. `str.title` knows SpecialCasing.txt too, whose
    mappings to several characters are for characters that have no such property."""
    title = character.title()
    return title if len(title) == 1 else character


def collation_key(text: str, readable: bool = True) -> str:
    """By what a text is sorted: as i;unicode-casemap says, and one that could not be read after
    all others, by its octets.   RFC 5255 4.6"""
    return casemap(text) if readable else UNREADABLE + text


def read_text(raw: bytes) -> tuple[str, bool]:
    """A header value as `decode_text` has it, and whether all of it could be read: in a charset
    that is known (UTF-8, if none is named) and without a sequence that is invalid there.

    What could not be read is shown as Latin-1, so that its characters are its
    octets.   RFC 5255 4.6 (b)
    """
    text = decode_text(raw)
    if raw.isascii() and b"=?" not in raw:
        return text, True
    try:
        _WORD.sub(b"", raw).decode("utf-8")
        for charset, words in groupby(_WORD.finditer(raw), key=_charset):
            # Neighbours together: many senders cut characters in two.
            octets = b"".join([_decode_word(word[2], word[3]) for word in words])
            octets.decode(charset)
    except UnicodeError:
        return text, False
    return text, True


def _charset(word: re.Match[bytes]) -> str:
    """The codec for an encoded-word, as `charset.decode` chooses it."""
    return _codec(word[1].partition(b"*")[0].decode("latin-1"))
