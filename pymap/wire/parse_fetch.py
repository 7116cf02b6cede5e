"""FETCH: data items, sections, partials and modifiers."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from pymap.limits import Limits
from pymap.wire.commands import Fetch, FetchAttribute, FetchItem
from pymap.wire.errors import BadCommand
from pymap.wire.framer import Frame
from pymap.wire.scanner import Scanner
from pymap.wire.search import Partial
from pymap.wire.types import MAX_NUMBER, Section, SectionText

__all__ = ["fetch", "fetch_items", "partial_range", "section_of"]

_ITEM = re.compile(rb"[A-Za-z0-9.-]+")
_PART = re.compile(rb"(?:[1-9]\d{0,9})(?:\.[1-9]\d{0,9})*")
_TEXT = re.compile(rb"[A-Za-z.]+")
_LAZY = re.compile(rb" \(LAZY(?: LAZY)*+\)", re.IGNORECASE)
_PARTIAL = re.compile(rb"<(\d{1,19})\.(\d{1,19})>")

_A = FetchAttribute
_FAST = (_A.FLAGS, _A.INTERNALDATE, _A.SIZE)
_MACROS = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, _A.ENVELOPE),
    b"FULL": (*_FAST, _A.ENVELOPE, _A.BODY_STRUCTURE),
}
"""RFC 9051 6.4.5"""

_PLAIN = {
    attribute.value.encode("ascii"): FetchItem(
        # RFC822 and RFC822.TEXT set \Seen as BODY[] does.   RFC 3501 6.4.5
        attribute, peek=attribute not in (_A.RFC822, _A.RFC822_TEXT),
    )
    for attribute in FetchAttribute if not attribute.value.endswith("[]")
}  # fmt: skip


def fetch(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Fetch:
    """fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att /
    "(" fetch-att *(SP fetch-att) ")") [SP "(" fetch-modifier *(SP fetch-modifier) ")"]

    RFC 9051 9; modifiers RFC 4466 2.4, RFC 7162 3.1.4.1 and 3.2.6, RFC 9394 3.3
    """
    s.sp()
    numbers = s.sequence_set()
    s.sp()
    rest = s.text[s.pos :]
    if len(rest) > CACHED_LENGTH or b"{" in rest or s.next_literal:
        items, (changed_since, vanished, partial) = _arguments(s, limits)
    else:
        items, (changed_since, vanished, partial) = _cached(rest, limits)
        s.pos = len(s.text.rstrip(b"\r\n"))
    # VANISHED makes sense only for UIDs and together with CHANGEDSINCE.   RFC 7162 3.2.6
    if vanished and (not by_uid or changed_since is None):
        raise BadCommand("VANISHED needs UID FETCH with CHANGEDSINCE")
    if partial is not None and not by_uid:
        raise BadCommand("PARTIAL needs UID FETCH")  # RFC 9394 3.3 extends no other
    return Fetch(tag, numbers, by_uid, items, changed_since, vanished, partial)


class _Modifiers(NamedTuple):
    changed_since: int | None = None
    vanished: bool = False
    partial: Partial | None = None


class _Arguments(NamedTuple):
    items: tuple[FetchItem, ...]
    modifiers: _Modifiers


CACHED_LENGTH = 500


@lru_cache(maxsize=500)
def _cached(rest: bytes, limits: Limits) -> _Arguments:
    """A client asks for the same items again and again: the same octets are read once."""
    s = Scanner(Frame(rest, []))
    found = _arguments(s, limits)
    s.end()
    return found


def _arguments(s: Scanner, limits: Limits) -> _Arguments:
    """What stands behind the sequence set."""
    if s.at(b"("):
        items = fetch_items(s, limits)
    elif (macro := _ITEM.match(s.text, s.pos)) and macro[0].upper() in _MACROS:
        s.pos = macro.end()
        items = tuple(_PLAIN[a.value.encode("ascii")] for a in _MACROS[macro[0].upper()])
    else:
        items = (_item(s),)
    if sum(1 + len(item.section.fields) for item in items) > limits.fetch_items:
        raise BadCommand("Too many data items")
    return _Arguments(items, _modifiers(s) if s.accept(b" ") else _Modifiers())


def fetch_items(s: Scanner, limits: Limits) -> tuple[FetchItem, ...]:
    """ "(" fetch-att *(SP fetch-att) ")": the same item twice is answered once."""
    items: list[FetchItem] = []
    cost = 0
    s.expect(b"(")
    while not s.accept(b")"):
        if items:
            s.sp()
        item = _item(s)
        items.append(item)
        cost += 1 + len(item.section.fields)
        if cost > limits.fetch_items:
            raise BadCommand("Too many data items")
    if not items:
        raise BadCommand("Expected a data item")
    return tuple(dict.fromkeys(items))


def _item(s: Scanner) -> FetchItem:
    name = s.match(_ITEM, "a data item")[0].upper()
    if not s.at(b"["):
        if name not in _PLAIN:
            raise BadCommand("Unknown data item")
        if name == b"PREVIEW":
            _preview_modifiers(s)
        return _PLAIN[name]
    s.expect(b"[")
    if name in (b"BODY", b"BODY.PEEK"):
        section = _section(s)
        return FetchItem(_A.SECTION, section, _partial(s), peek=name == b"BODY.PEEK")
    if name in (b"BINARY", b"BINARY.PEEK"):
        section = _section(s, parts_only=True)
        return FetchItem(_A.BINARY, section, _partial(s), peek=name == b"BINARY.PEEK")
    if name == b"BINARY.SIZE":
        return FetchItem(_A.BINARY_SIZE, _section(s, parts_only=True))
    raise BadCommand("Unknown data item")


def _preview_modifiers(s: Scanner) -> None:
    """fetch-att =/ "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"]; preview-mod = "LAZY"

    Previews are kept beside the messages, so that there is never a delay to be avoided by NIL:
    LAZY makes no difference. Behind the last item there may as well be the modifiers of
    FETCH.   RFC 8970 4.1, 6
    """
    if found := _LAZY.match(s.text, s.pos):
        s.pos = found.end()


def _section(s: Scanner, parts_only: bool = False) -> Section:
    """section = "[" [section-spec] "]", the first bracket already read."""
    path: tuple[int, ...] = ()
    text: SectionText | None = None
    names: tuple[str, ...] = ()
    if found := _PART.match(s.text, s.pos):
        s.pos = found.end()
        path = tuple(map(int, found[0].split(b".")))
        if max(path) > MAX_NUMBER:
            raise BadCommand("Number too large")
        more = not s.at(b"]")
        if more:
            s.expect(b".")
    else:
        more = not s.at(b"]")
    if more:
        if parts_only:
            raise BadCommand("Expected a part number")
        text, names = _section_text(s)
        if text is SectionText.MIME and not path:
            raise BadCommand("MIME needs a part number")
    s.expect(b"]")
    return Section(path, text, names)


def section_of(spec: bytes) -> Section:
    """section-spec by itself, as a URL has it. Raises BadCommand.   RFC 5092 11, enc-section"""
    s = Scanner(Frame(spec + b"]\r\n", []))
    section = _section(s)
    s.end()
    return section


def _section_text(s: Scanner) -> tuple[SectionText, tuple[str, ...]]:
    """section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT" """
    name = s.match(_TEXT, "a section")[0].upper().decode("ascii")
    try:
        text = SectionText(name)
    except ValueError:
        raise BadCommand("Unknown section") from None
    if text not in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        return text, ()
    s.sp()
    s.expect(b"(")
    names = [_header_name(s)]
    while s.accept(b" "):
        names.append(_header_name(s))
    s.expect(b")")
    return text, tuple(names)


def _header_name(s: Scanner) -> str:
    """header-fld-name = astring; a name that no field can have matches nothing."""
    return s.astring().decode("utf-8", "replace")


def _partial(s: Scanner) -> tuple[int, int] | None:
    """partial = "<" number64 "." nz-number64 ">"   RFC 9051 9"""
    if not s.at(b"<"):
        return None
    found = s.match(_PARTIAL, "a partial")
    offset, length = int(found[1]), int(found[2])
    if not length or max(offset, length) >= 1 << 63:
        raise BadCommand("Partial out of range")
    return offset, length


def _modifiers(s: Scanner) -> _Modifiers:
    s.expect(b"(")
    found = _Modifiers()
    while True:
        match s.keyword():
            case "CHANGEDSINCE":
                s.sp()
                found = found._replace(changed_since=s.number64())
            case "VANISHED":
                found = found._replace(vanished=True)
            case "PARTIAL":
                s.sp()
                found = found._replace(partial=partial_range(s))
            case _:
                raise BadCommand("Unknown FETCH modifier")
        if s.accept(b")"):
            return found
        s.sp()


def partial_range(s: Scanner) -> Partial:
    """partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number   RFC 9394 4"""
    from_end = s.accept(b"-")
    first = s.nz_number()
    s.expect(b":-" if from_end else b":")
    return Partial(first, s.nz_number(), from_end)
