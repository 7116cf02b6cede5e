"""How much alike two texts are: FUZZY search, and its scores.   RFC 6203

What is looked for is taken apart into words. Case, accents and order make no difference; a word is
also found at the beginning of a longer one, and with one letter more, less, other, or two that
changed places. A text is alike if it has at least half of the words, so whatever the exact search
finds is found here too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from pymap import mime
from pymap.backend.api import Digest
from pymap.imap.text import header_contains, in_header_block
from pymap.mime.casemap import casemap

__all__ = ["Needle", "header", "score", "text"]

MAX_WORDS = 8  # of what is looked for
MAX_WORD = 40  # letters; longer ones are only found as they are
MAX_TEXT = 1 << 20  # characters of a text whose words are looked at
MAX_LOOKED_AT = 50_000  # words of a text

AS_IT_STANDS, EVERY_WORD = 1.0, 0.9
"""The needle as one piece; all its words somewhere."""
BEGINS, NEARLY = 0.8, 0.6
"""What a word is worth that is not there itself."""
SUBJECT, ADDRESS, BODY, OTHER = 1.0, 0.9, 0.7, 0.5
"""What a place is worth to TEXT: few words that somebody chose say more than many."""
LOWEST = OTHER * EVERY_WORD * NEARLY / 2

_WORD = re.compile(r"\w+")


def score(likeness: Sequence[float]) -> int:
    """The relevance of a message, 1 to 100, from how well it matched the fuzzy keys that it did
    match. One that met none with a text in it is as relevant as can be.   RFC 6203 4"""
    if not likeness:
        return 100
    mean = sum(likeness) / len(likeness)
    return max(1, round(100 * (mean - LOWEST) / (1 - LOWEST)))


def folded(text: str) -> str:
    """Without case and accents, and with "ss" for "ß", which is a letter of its own to SEARCH."""
    text = casemap(text)
    if text.isascii():
        return text
    plain = "".join(c for c in text if not unicodedata.combining(c))
    return plain.replace("ß", "SS").replace("ẞ", "SS")


class Needle:
    """What is looked for, ready to be compared."""

    def __init__(self, text: str) -> None:
        self.text = folded(text)
        self.words = [*dict.fromkeys(_WORD.findall(self.text))][:MAX_WORDS]

    def likeness(self, text: str) -> float:
        """From 0, not alike, to 1. Time is linear in the text, some 0.2 us for each of its
        different words and each of the needle's."""
        text = folded(text)
        if self.text in text:
            return AS_IT_STANDS
        if not self.words:
            return 0
        matches = _WORD.finditer(text[:MAX_TEXT])
        there = {match[0] for match in islice(matches, MAX_LOOKED_AT)}
        found = [worth for word in self.words if (worth := _worth(word, there))]
        return EVERY_WORD * sum(found) / len(self.words) if 2 * len(found) >= len(self.words) else 0


def _worth(word: str, there: set[str]) -> float:
    if word in there:
        return 1
    if len(word) > MAX_WORD or len(word) < 3:
        return 0
    # One edit leaves one half of a word as it is, so few have to be looked at more closely.
    half = (len(word) - 1) // 2
    first, last = word[:half], word[-half:]
    close = [other for other in there if other.startswith(first) or other.endswith(last)]
    if any(other.startswith(word) for other in close):
        return BEGINS
    near = len(word) > 3 and any(one_edit(word, other) for other in close)
    return NEARLY if near else 0


def one_edit(a: str, b: str) -> bool:
    """Whether one letter more, less or other, or two that changed places, make the one of the
    other."""
    at = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        at += 1
    a, b = a[at:], b[at:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


# -- what a key looks at --


def header(name: str, text: str) -> Callable[[bytes], float]:
    """How well a header block matches: of several fields of that name, the best."""
    needle, exact = Needle(text), casemap(text)

    def alike(block: bytes) -> float:
        if header_contains(block, name, exact):
            return AS_IT_STANDS
        return max(map(needle.likeness, _values(block, name)), default=0)

    return alike


def text(text: str, headers_too: bool) -> Callable[[bytes, Digest], float]:
    """How well a message matches: its body, with headers the best place in it."""
    needle, exact = Needle(text), casemap(text)

    def alike(content: bytes, made: Digest) -> float:
        body = max(map(needle.likeness, mime.search_texts(content, made.parts)), default=0.0)
        if not headers_too:
            return body
        block = content[: made.header_size]
        best = BODY * body
        for worth, names in ((SUBJECT, ("Subject",)), (ADDRESS, ("From", "To", "Cc"))):
            values: Iterable[str] = (value for name in names for value in _values(block, name))
            best = max(best, worth * max(map(needle.likeness, values), default=0))
        if not best and any(
            in_header_block(part, exact) for part in mime.part_headers(content, made.parts)
        ):
            best = OTHER
        return best

    return alike


def _values(block: bytes, name: str) -> list[str]:
    return [mime.decode_text(raw) for raw in mime.fields(block, name)]
