"""Finding fields in a header block, without looking at those nobody asked for.

All searches run over a lower-case copy of the block that has a line feed put before it. Lowering
keeps every octet in its place, a pattern without IGNORECASE is several times faster, and every
field then starts after a line feed, which `re` finds with memchr. Offset i in the block is
i + 1 in the copy.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

MAX_COMPILED = 64
"""Names in one pattern; with more, each field is looked up in a set instead."""

PATTERNS = 256
"""Sets of names whose pattern is kept; the least recently used goes first."""

# field-name = 1*ftext, ftext = %d33-57 / %d59-126 (RFC 5322 2.2), or UTF-8 (RFC 6532 tolerance).
_NAME = re.compile(rb"[!-9;-~\x80-\xff]+")
# White space before the colon is obsolete but met (RFC 5322 4.5.1, obs-optional). Continuation
# lines start with white space (2.2.3). Possessive: no backtracking, no memory per line.
_VALUE = rb"[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)"
_ANY = re.compile(rb"\n([!-9;-~\x80-\xff]++)" + _VALUE)


def pattern_of(names: Collection[bytes]) -> re.Pattern[bytes]:
    """Finds those fields in a lowered copy: group 1 is the name, group 2 the value's span."""
    return re.compile(rb"\n(" + b"|".join(re.escape(name) for name in names) + rb")" + _VALUE)


def lowered(header: bytes) -> bytes:
    """The copy that patterns of this module search."""
    return b"\n" + header.lower()


def unfold(raw: bytes) -> bytes:
    """Without the line ends of folding; the white space after them stays.   RFC 5322 2.2.3"""
    if b"\n" in raw:
        return raw.replace(b"\r\n", b"").replace(b"\n", b"")
    return raw


def header_fields(header: bytes, names: Collection[str], excluding: bool = False) -> bytes:
    """HEADER.FIELDS of a header block, or HEADER.FIELDS.NOT: fields in the message's order.

    Names match without regard to ASCII case, otherwise exactly. Lines that are no field are in
    the .NOT form only.   RFC 9051 6.4.5.1
    """
    spans = _spans(header, names if type(names) is tuple else tuple(names))
    if excluding:
        pieces, at = [], 0
        for start, end in spans:
            pieces.append(header[at:start])
            at = end
        pieces.append(header[at : _fields_end(header)])
        found = b"".join(pieces)
    else:
        found = b"".join([header[start:end] for start, end in spans])
    # "Subsetting does not exclude the delimiting blank line ... except in the case of a message
    # that has no body and no blank line": we add one there too, since clients read up to it.
    if found and not found.endswith(b"\n"):
        return found + b"\r\n\r\n"
    return found + b"\r\n"


def fields(header: bytes, name: str) -> list[bytes]:
    """The raw values of each field of that name: still folded, outer white space stripped."""
    pattern, _ = _pattern((name,))
    if pattern is None:
        return []
    # Offsets are those of the copy.
    return [
        header[match.start(2) - 1 : match.end(2) - 1].strip(b" \t\r\n")
        for match in pattern.finditer(lowered(header))
    ]


def _spans(header: bytes, names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Where matching fields lie in `header`, with the line ends of their last lines."""
    pattern, many = _pattern(names)
    if pattern is None:
        return []
    # A match runs in the copy from the line feed before the field to its own line feed,
    # excluded: the same numbers span the field and its line feed in the header.
    if many:
        return [m.span() for m in pattern.finditer(lowered(header)) if m[1] in many]
    return [m.span() for m in pattern.finditer(b"\n" + header.lower())]


@lru_cache(maxsize=PATTERNS)
def _pattern(names: tuple[str, ...]) -> tuple[re.Pattern[bytes] | None, frozenset[bytes]]:
    """A pattern for those names, or for any field and the set to look it up in."""
    raw = {name.encode("utf-8", "replace").lower() for name in names}
    # What can be no field-name matches no field: ":" or LF in a name must not reach the pattern.
    known = sorted(name for name in raw if _NAME.fullmatch(name))
    if not known:
        return None, frozenset()
    if len(known) > MAX_COMPILED:
        return _ANY, frozenset(known)
    return pattern_of(known), frozenset()


def _fields_end(header: bytes) -> int:
    """Where the blank line starts, or the block's end without one."""
    for blank in (b"\r\n", b"\n"):
        if header.endswith(b"\n" + blank) or header == blank:
            return len(header) - len(blank)
    return len(header)


_TEXT_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|\\.|[^"()\\]++|.', re.DOTALL)
_COMMENT_TOKEN = re.compile(rb"[^()\\]++|\\.|.", re.DOTALL)


def strip_comments(raw: bytes, in_words: bool = False) -> bytes:
    """Without comments, which may nest.   RFC 5322 3.2.2

    Unless `in_words`, a parenthesis inside a word is none: ``name=report(1).pdf`` is wrong but
    frequent.
    """
    if b"(" not in raw:
        return raw
    kept: list[bytes] = []
    at, blank = 0, True
    while token := _TEXT_TOKEN.match(raw, at):
        at = token.end()
        if token[0] == b"(" and (blank or in_words):
            _, at = read_comment(raw, at)
            kept.append(b" ")
        else:
            kept.append(token[0])
            blank = token[0][-1] in b" \t;,/="
    return b"".join(kept)


def read_comment(raw: bytes, at: int) -> tuple[bytes, int]:
    """The inside of a comment from after its "(", and where it ends: with the field if open.

    Comments nest, and quotes mean nothing in them.   RFC 5322 3.2.2
    """
    start, depth = at, 1
    while token := _COMMENT_TOKEN.match(raw, at):
        at = token.end()
        depth += (token[0] == b"(") - (token[0] == b")")
        if not depth:
            return raw[start : at - 1], at
    return raw[start:], at
