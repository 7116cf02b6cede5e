"""GETMETADATA and SETMETADATA: names of entries, and what is asked of them.   RFC 5464"""

from __future__ import annotations

import re

from pymap.limits import Limits
from pymap.wire.commands import GetMetadata, SetMetadata
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.scanner import Scanner

__all__ = ["entries", "getmetadata", "setmetadata"]

# Not control characters either: for "0x00 to 0x19" 0x1f must be meant.   RFC 5464 3.2
_ENTRY = re.compile(rb"(?:/[^\x00-\x1f\x7f-\xff/*%]+)+")
_DEPTHS: dict[bytes, int | None] = {b"0": 0, b"1": 1, b"infinity": None}
_OPTION = re.compile(rb"\((?:MAXSIZE|DEPTH)(?= )", re.IGNORECASE)


def getmetadata(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> GetMetadata:
    """getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries

    The examples of RFC 5464 4.2 have the options behind the mailbox, and those of 4.4.1 several
    entries without parentheses: clients do either, so all of it is taken.   RFC 5464 5
    """
    s.sp()
    options = _options(s)
    mailbox = s.mailbox()
    s.sp()
    options = options or _options(s)
    max_size, depth = options or (None, 0)
    # What is only the beginning of a name can be asked for what is below it.
    found = entries(s, limits, beginnings=depth != 0)
    return GetMetadata(tag, mailbox, found, max_size, depth)


def _options(s: Scanner) -> tuple[int | None, int | None] | None:
    """getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")", and the space
    behind it; None if there are none."""
    if not _OPTION.match(s.text, s.pos):
        return None
    s.expect(b"(")
    found: dict[str, int | None] = {}
    while True:
        name = s.keyword()
        s.sp()
        if name in found:
            raise BadCommand("An option is there twice")
        if name == "MAXSIZE":
            found[name] = s.number()
        elif name == "DEPTH":
            depth = s.astring().lower()
            if depth not in _DEPTHS:
                raise BadCommand("No such depth")
            found[name] = _DEPTHS[depth]
        else:
            raise BadCommand("Unknown option")
        if s.accept(b")"):
            break
        s.sp()
    s.sp()
    return found.get("MAXSIZE"), found.get("DEPTH", 0)


def setmetadata(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> SetMetadata:
    """setmetadata = "SETMETADATA" SP mailbox SP entry-values
    entry-values = "(" entry-value *(SP entry-value) ")"; entry-value = entry SP value"""
    s.sp()
    mailbox = s.mailbox()
    s.sp()
    s.expect(b"(")
    values: dict[str, bytes | None] = {}
    while True:
        name = _entry(s, limits).lower()
        s.sp()
        if name in values:
            raise BadCommand("An entry is there twice")
        values[name] = _value(s)
        if len(values) > limits.metadata_entries:
            raise Refused("METADATA TOOMANY", "Too many entries")
        if s.accept(b")"):
            return SetMetadata(tag, mailbox, tuple(values.items()))
        s.sp()


def entries(s: Scanner, limits: Limits, beginnings: bool = False) -> tuple[str, ...]:
    """entries = entry / "(" entry *(SP entry) ")", each once, as the client spells them."""
    in_parentheses = s.accept(b"(")
    found = {(name := _entry(s, limits, beginnings)).lower(): name}
    while s.at(b" ") and not s.at_end:
        s.sp()
        name = _entry(s, limits, beginnings)
        found.setdefault(name.lower(), name)
        if len(found) > limits.metadata_entries:
            raise BadCommand("Too many entries")
    if in_parentheses:
        s.expect(b")")
    return tuple(found.values())


def _entry(s: Scanner, limits: Limits, beginning: bool = False) -> str:
    """entry = astring; what is no name of an entry is BAD.   RFC 5464 3.2"""
    raw = s.astring()
    if not _ENTRY.fullmatch(raw):
        raise BadCommand("Not the name of an entry")
    if len(raw) > limits.metadata_name:
        raise Refused("LIMIT", "The name of the entry is too long")
    name = raw.decode("ascii")
    scope, *rest = name[1:].lower().split("/")
    if scope not in ("private", "shared"):
        raise BadCommand("An entry is /private or /shared")
    # "at least 4 components" with a vendor, else at least 2
    if len(rest) < (3 if rest[:1] == ["vendor"] else 1) and not beginning:
        raise BadCommand("The name of the entry is too short")
    return name


def _value(s: Scanner) -> bytes | None:
    """value = nstring / literal8"""
    value = s.nstring()
    if value is not None and b"\0" in value and not s.literal8:
        raise BadCommand("NUL in a string")
    return value
