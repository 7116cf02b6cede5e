"""FILTER: searches that are kept by name, as annotations of the server.   RFC 5466"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from pymap.imap.annotations import Values, read
from pymap.imap.session import Session
from pymap.wire import search as k
from pymap.wire.commands import ESearch, Search, Sort, Thread
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.parse_search import FILTER_NAME, criteria

__all__ = ["check_filter", "with_filters"]

DEEPEST = 10
"""Filters within one another. RFC 5466 3.1: at least 3."""

_VALUES = re.compile(r"/(?:private|shared)/filters/values/(.*)", re.DOTALL)
_Command = TypeVar("_Command", ESearch, Search, Sort, Thread)


def check_filter(session: Session, entry: str, value: bytes | None) -> None:
    """Refuse what is to be a filter and is no search.   RFC 5466 3.2"""
    found = _VALUES.fullmatch(entry)
    if found is None or value is None:
        return
    if not FILTER_NAME.fullmatch(found[1].encode()):
        raise BadCommand("Not the name of a filter")
    try:
        _criteria(session, value)
    except BadCommand as error:
        raise Refused("CANNOT", f"Not a search: {error}") from error


def _criteria(session: Session, value: bytes) -> tuple[k.SearchKey, bool]:
    """What is kept, read as `criteria` does. Raises BadCommand also for keys that SEARCH would not
    take from this client."""
    key, uses_modseq = criteria(value, session.limits)
    if any(isinstance(leaf, k.Gmail) for leaf in k.leaves(key)):
        session.require("X-GM-EXT-1")
    return key, uses_modseq


async def with_filters(session: Session, command: _Command) -> _Command:
    """The command with each FILTER replaced by what it stands for. Raises Refused for one that is
    not there."""
    if not any(isinstance(key, k.Filter) for key in k.leaves(command.key)):
        return command
    session.require("FILTERS")
    expansion = _Expansion(session, await _known(session))
    key = expansion.expand(command.key)
    return replace(command, key=key, uses_modseq=command.uses_modseq or expansion.uses_modseq)


async def _known(session: Session) -> Values:
    """The values of filters by name. A private one hides the shared one.   RFC 5466 3.1"""
    user, found = session.user or "", {}
    for scope, properties in (
        ("shared", session.backend.properties("server")),
        ("private", session.authenticated().properties),
    ):
        if properties is not None:
            for entry, value in (await read(properties, scope, user)).items():
                if at := _VALUES.fullmatch(entry):
                    found[at[1]] = value
    return found


class _Expansion:
    """One search, which is with its filters as large and as deep as one without may be."""

    def __init__(self, session: Session, known: Values) -> None:
        self._session = session
        self._limits = session.limits
        self._known = known
        self._read: dict[str, k.SearchKey] = {}  # each once, however often it is named
        self._keys = 0
        self.uses_modseq = False

    def expand(self, key: k.SearchKey, within: tuple[str, ...] = (), depth: int = 0) -> k.SearchKey:
        """`within` are the filters that this is a part of."""
        self._keys += 1
        if self._keys > self._limits.search_keys:
            raise Refused("LIMIT", "Too many search keys")
        if depth > self._limits.search_depth:
            raise Refused("LIMIT", "Search keys nested too deeply")
        below = depth + 1
        match key:
            case k.Filter(name):
                return self.expand(self._value(name, within), (*within, name.lower()), below)
            case k.Not(inner):
                return k.Not(self.expand(inner, within, below))
            case k.And(keys):
                return k.And(tuple(self.expand(each, within, below) for each in keys))
            case k.Fuzzy(inner):
                return k.Fuzzy(self.expand(inner, within, below))
            case k.Or(left, right):
                return k.Or(self.expand(left, within, below), self.expand(right, within, below))
        return key

    def _value(self, name: str, within: tuple[str, ...]) -> k.SearchKey:
        """What a filter stands for. RFC 5466 3.1 says "inserted verbatim", but also that each is a
        full search by itself: NOT FILTER x finds what x does not, whatever x is made of."""
        folded = name.lower()
        value = self._known.get(folded)
        if value is None or folded in within or len(within) == DEEPEST:
            raise _undefined(name)
        if folded not in self._read:
            try:
                key, uses_modseq = _criteria(self._session, value)
            except BadCommand as error:  # the server has changed since it was kept
                raise _undefined(name) from error
            self._read[folded] = key
            self.uses_modseq = self.uses_modseq or uses_modseq
        return self._read[folded]


def _undefined(name: str) -> Refused:
    return Refused(f"UNDEFINED-FILTER {name}", "No such filter")
