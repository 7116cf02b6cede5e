"""PREVIEW: the first words of a message, as a list of messages shows them.   RFC 8970

Rule 1: it is what somebody wrote: the first text that is no attachment and not empty, without
        markup, and without what it quotes, unless there is nothing else.
Rule 2: the cost is bounded whatever arrives: of a few parts some octets, of HTML some tags, and no
        pattern goes over them more than once. A small message takes some 15 us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from .charset import decode
from .encoding import Encoding, encoding_of, undo
from .params import value_of
from .parse import Kind, Part

MAX_PREVIEW = 200
"""Characters: what the server "SHOULD" keep to. It "MUST NOT" send more than 256.   3.3"""

MAX_TRIED = 4
"""Texts of a message that are tried: many senders put an empty one first."""

READ = (1024, 32 * 1024)
"""Octets of a text that are looked at: mostly the first are enough, of HTML style comes first."""

MAX_TAGS = 2000
"""Tags of HTML that are passed over."""

ENOUGH = 2 * MAX_PREVIEW  # characters as they stand, of which many may be blanks

# Other text (calendars, tables, style sheets) is for programs. What has no type is plain.
_PLAIN = frozenset((b"plain", b"markdown"))
_READABLE = _PLAIN | {b"html"}

# Of a UTF-8 character that was cut in two, or the last one before the cut: it makes no difference.
_CUT = re.compile(rb"[\xc0-\xff][\x80-\xbf]*\Z")

# What cannot be seen, or turns around what stands beside it: controls, soft hyphens, marks that
# newsletters fill their first lines with. The two joiners are letters in some scripts.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_JOINERS = "\u200c\u200d"

_SIGNED = re.compile(r"\s*-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:[A-Za-z]++: .*+\r?\n)*+")
_ENCRYPTED = re.compile(r"\s*-----BEGIN PGP MESSAGE-----")


def preview(content: bytes, parts: list[Part]) -> bytes:
    """In UTF-8, empty if there is no text to take it from ("MUST return a zero-length string",
    3.2). There is no line end or other control character in it."""
    for part in _texts(parts):
        for limit in READ:
            text = _read(content, part, limit)
            if part.media.subtype.lower() in _PLAIN:
                shown = _plain(text)
            else:
                shown = _html(text)
            if len(shown) >= MAX_PREVIEW or part.end - part.body <= limit:
                break
        if shown:
            return shown[:MAX_PREVIEW].rstrip().encode("utf-8", "replace")
    return b""


def _texts(parts: list[Part]) -> Iterator[Part]:
    """The texts that may be shown, in their order."""
    tried = 0
    for part in parts:
        if (
            part.kind is Kind.TEXT
            and part.media.subtype.lower() in _READABLE
            and encoding_of(part.encoding) is not Encoding.UNKNOWN
            and not _attached(part)
        ):
            yield part
            tried += 1
            if tried == MAX_TRIED:
                return


def _attached(part: Part) -> bool:
    raw = part.fields.get(b"content-disposition")
    return raw is not None and value_of(raw)[0].lower() == b"attachment"


def _read(content: bytes, part: Part, limit: int) -> str:
    """The text of a part, as far as it is decoded from its first `limit` octets."""
    end = min(part.end, part.body + limit)
    octets = bytes(undo(content[part.body : end], encoding_of(part.encoding)))
    if end < part.end:
        octets = octets[:-4] + _CUT.sub(b"", octets[-4:])
    return decode(octets, part.media.param(b"charset").decode("latin-1"))


def _collapsed(text: str) -> str:
    """Words, with one blank between two of them."""
    words = text.split()
    joined = " ".join(words)
    if joined.isprintable():
        return joined
    words = [word.strip(_JOINERS) for word in _HIDDEN.sub("", joined).split()]
    return " ".join(filter(None, words))


# -- plain text --


def _plain(text: str) -> str:
    if signed := _SIGNED.match(text):
        text = text[signed.end() :]
    elif _ENCRYPTED.match(text):
        return ""
    if "\n>" not in text and "\n-- " not in text and not text.startswith(">"):
        return _collapsed(text)
    own: list[str] = []
    for line in text.splitlines():
        if line.startswith(">"):
            _drop_attribution(own)
        elif line == "-- " and own:  # a signature follows.   RFC 3676 4.3
            break
        else:
            own.append(line)
    return _collapsed("\n".join(own)) or _collapsed(text.replace(">", " "))


def _drop_attribution(lines: list[str]) -> None:
    """Of what was written before a quotation: a line or two that end in a colon, as "On Monday,
    Fred wrote:" does in any language."""
    while lines and not lines[-1].strip():
        lines.pop()
    if lines and lines[-1].rstrip().endswith(":"):
        lines.pop()
        if lines and lines[-1].strip() and (len(lines) == 1 or not lines[-2].strip()):
            lines.pop()
    lines.append("")


# -- HTML --

_NAME = r"[a-zA-Z][^\s/>]*+"
_VALUES = r"""(?:[^>"']++|"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))*+"""
# What is never closed takes all the rest, so that nothing is looked at twice.
_TAG = re.compile(rf"<(?:(/?{_NAME}){_VALUES}(?:>|\Z)|!--(?:.*?-->|.*)|[!?/][^>]*+>?)", re.DOTALL)
# Elements whose content is no text of the page.
_ENDS = {
    name: re.compile(rf"</(?i:{name})") for name in ("script", "style", "template", "title")
}  # fmt: skip
_INLINE = frozenset((
    *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font"),
    *("i", "ins", "kbd", "mark", "o:p", "q", "s", "samp", "small", "span", "strike", "strong"),
    *("sub", "sup", "tt", "u", "var", "wbr"),
))  # fmt: skip
# A number of more digits than characters have: `unescape` would fail at some length.
_LONG_NUMBER = re.compile(r"&#[xX]?[0-9a-fA-F]{8,}+;?")


def _html(text: str) -> str:
    own: list[str] = []
    quoted: list[str] = []
    depth = length = at = tags = 0
    while at < len(text) and length < ENOUGH and tags < MAX_TAGS:
        start = text.find("<", at)
        start = start if start >= 0 else len(text)
        if start > at:
            piece = text[at:start]
            (quoted if depth else own).append(piece)
            length += 0 if depth else len(piece.strip())
        tag = _TAG.match(text, start)
        if tag is None:  # a sign that should have been written otherwise
            own.append(text[start : start + 1])
            at = start + 1
            continue
        at, tags = tag.end(), tags + 1
        name = (tag[1] or "").lower()
        if name.endswith("blockquote"):
            depth = depth + 1 if name[0] != "/" else max(depth - 1, 0)
        elif end := _ENDS.get(name):
            close = end.search(text, at)
            at = close.start() if close else len(text)
        if name and name.removeprefix("/") not in _INLINE:
            own.append(" ")
    return _unescaped(own) or _unescaped(quoted)


def _unescaped(pieces: list[str]) -> str:
    text = "".join(pieces)
    if "&" in text:
        text = unescape(_LONG_NUMBER.sub("\ufffd", text))
    return _collapsed(text)
