"""Content-Type, Content-Disposition: a value and its parameters.   RFC 2045 5.1, RFC 2231"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .charset import decode
from .header import strip_comments, unfold

MAX_FIELD = 65_536
"""Octets of a field that are looked at."""

MAX_PARAMS = 100
"""Parameters of one field; more are left out."""

Params = tuple[tuple[bytes, bytes], ...]


class Media(NamedTuple):
    """Content-Type, spelled as in the header."""

    type: bytes
    subtype: bytes
    params: Params

    def param(self, name: bytes) -> bytes:
        """By its lower-case name; empty if there is none."""
        for attribute, value in self.params:
            if attribute.lower() == name:
                return value
        return b""


TEXT_PLAIN = Media(b"TEXT", b"PLAIN", ((b"CHARSET", b"US-ASCII"),))
"""The default.   RFC 2045 5.2"""
RFC822 = Media(b"MESSAGE", b"RFC822", ())
"""The default in multipart/digest.   RFC 2046 5.1.5"""
OCTET_STREAM = Media(b"APPLICATION", b"OCTET-STREAM", ())

_MEDIA = re.compile(rb"\s*+([!#$%&'*+.^_`{|}~A-Za-z0-9-]++)\s*+/\s*+([^\s;/\"(),<>@\[\]]++)")
_VALUE = re.compile(rb"\s*+([^\s;=\"]*+)")
# Unquoted values may contain blanks, against the grammar: they go up to ";". An open quoted
# string goes up to the end.
_PARAM = re.compile(
    rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)|([^;]*+))', re.DOTALL
)
# attribute = name ["*" section] ["*"]; section = "0" / 1*DIGIT without leading zero. RFC 2231 7
_CONTINUED = re.compile(rb"([^*]+)(?:\*(0|[1-9]\d{0,4}))?(\*)?")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def media_of(raw: bytes, default: Media) -> Media:
    """Content-Type; one that makes no sense is text/plain too.   RFC 2045 5.2"""
    if len(raw) <= 200:
        return _short_media(raw, default)
    return _media(raw, default)


def _media(raw: bytes, default: Media) -> Media:
    text = strip_comments(unfold(raw[:MAX_FIELD]))
    match = _MEDIA.match(text)
    if match is None:
        return default
    params = _params(text, match.end())
    if not params and match[1].lower() == b"text":
        params = TEXT_PLAIN.params
    return Media(match[1], match[2], params)


# Few senders write most mail: the same lines come again. Those with a boundary do not,
# but a short one costs 200 octets until 500 others have come.
_short_media = lru_cache(maxsize=500)(_media)


def value_of(raw: bytes) -> tuple[bytes, Params]:
    """The value before the first ";", and the parameters."""
    text = strip_comments(unfold(raw[:MAX_FIELD]))
    match = _VALUE.match(text)
    assert match is not None  # it matches nothing, too
    return match[1], _params(text, match.end())


def _params(text: bytes, at: int) -> Params:
    if text.find(b";", at) < 0:
        return ()
    found: dict[bytes, bytes] = {}  # in order of appearance; the first of a name counts
    continued: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for match in _PARAM.finditer(text, at):
        name, quoted, token = match.groups()
        value = token.strip() if quoted is None else quoted
        if quoted is not None and b"\\" in value:
            value = _ESCAPE.sub(rb"\1", value)
        if b"*" in name and (parts := _CONTINUED.fullmatch(name)):
            base, section, extended = parts.groups()
            pieces = continued.setdefault(base, {})
            pieces.setdefault(int(section or 0), (value, extended is not None))
            name = base + b"*"
        found.setdefault(name, value)
    if not continued:
        return tuple(found.items())[:MAX_PARAMS]
    return tuple(
        _joined(name[:-1], continued[name[:-1]]) if name[:-1] in continued else (name, value)
        for name, value in list(found.items())[:MAX_PARAMS]
    )


def _joined(base: bytes, pieces: dict[int, tuple[bytes, bool]]) -> tuple[bytes, bytes]:
    """Continuations put together, as far as none is missing.   RFC 2231 3, 4

    "baz*0", "baz*1" are returned as "baz"; "foo*0*", "foo*1*" are decoded, converted to UTF-8
    and returned as "foo*".   RFC 9051 7.5.2
    """
    run: list[bytes] = []
    charset, any_extended = "", False
    while piece := pieces.get(len(run)):
        value, extended = piece
        if extended:
            any_extended = True
            if not run and value.count(b"'") >= 2:
                name, _, value = value.split(b"'", 2)
                charset = name.decode("latin-1")
            value = unquote_to_bytes(value)
        run.append(value)
    if not run:  # the first is missing; what there is, is better than nothing
        return base, b"".join(value for _, (value, _) in sorted(pieces.items()))
    if not any_extended:
        return base, b"".join(run)
    return base + b"*", decode(b"".join(run), charset).encode("utf-8", "replace")
