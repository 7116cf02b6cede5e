r"""Gmail's labels, and the flags that they are here.   X-GM-EXT-1

A label is a keyword: ``$gm.`` and its name in UTF-8, where ``=C3`` stands for an octet that may not
be in an atom. So every store keeps labels, copies take them along, and CONDSTORE tells of them. Two
of Gmail's own are flags that every client knows: ``\Starred`` is ``\Flagged``, ``\Important`` is
``$Important`` (RFC 8457).
"""

from __future__ import annotations

import re
import unicodedata

from pymap.limits import Limits
from pymap.wire import modutf7
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.scanner import Scanner
from pymap.wire.types import FLAGGED, LABEL_PREFIX, Flag

__all__ = ["flag_of", "is_label", "label", "label_list", "label_of"]

_SYSTEM = {"\\Starred": FLAGGED, "\\Important": Flag("$Important")}
_BY_LABEL = {label.lower(): flag for label, flag in _SYSTEM.items()}
_BY_FLAG = {flag: label for label, flag in _SYSTEM.items()}
_UNSAFE = re.compile(rb"[^A-Za-z0-9_./-]")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})", re.IGNORECASE)
_SYSTEM_LABEL = re.compile(rb"\\[A-Za-z]+")


def flag_of(label: str) -> Flag:
    """Two labels are the same if they differ in case only, in ASCII."""
    if flag := _BY_LABEL.get(label.lower()):
        return flag
    raw = unicodedata.normalize("NFC", label).encode("utf-8")
    return Flag(LABEL_PREFIX + _UNSAFE.sub(lambda c: b"=%02X" % ord(c[0]), raw).decode("ascii"))


def label_of(flag: Flag) -> str | None:
    """None: it is no label."""
    if not flag.is_label:
        return _BY_FLAG.get(flag)
    raw = flag.name[len(LABEL_PREFIX) :].encode("ascii")
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), raw).decode(
        "utf-8", "replace"
    )


def is_label(flag: Flag) -> bool:
    return flag.is_label or flag in _BY_FLAG


def label(s: Scanner, limits: Limits) -> Flag:
    r"""An astring in modified UTF-7, or UTF-8; ``\Inbox`` needs no quotes."""
    raw = s.match(_SYSTEM_LABEL, "a label")[0] if s.at(b"\\") else s.astring()
    try:
        name = modutf7.decode(raw) if raw.isascii() else raw.decode("utf-8")
    except ValueError as error:
        raise BadCommand("Malformed label") from error
    if not name:
        raise BadCommand("Expected a label")
    flag = flag_of(name)
    if len(flag.name) > limits.keyword:
        raise Refused("LIMIT", "Label too long")
    return flag


def label_list(s: Scanner, limits: Limits) -> frozenset[Flag]:
    """label-list = "(" [label *(SP label)] ")" / label"""
    if not s.accept(b"("):
        return frozenset((label(s, limits),))
    found: list[Flag] = []
    while not s.accept(b")"):
        if found:
            s.sp()
        found.append(label(s, limits))
        if len(found) > limits.flags:
            raise BadCommand("Too many labels")
    return frozenset(found)
