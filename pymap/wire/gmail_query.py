"""X-GM-RAW: a query as Gmail's search box takes it, as search keys.

    query  = *(either [SP])                 all of them
    either = term *("OR" term)              OR binds closer than AND, as it does there
    term   = "-" term / "(" query ")" / "{" *term "}" / operator ":" value / value
    value  = word / quoted / "(" *value ")"

A bracket that is never closed is closed at the end. A word before ":" that is no operator belongs
to the text: people search for addresses of web pages.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable

from pymap.wire import search as k
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.labels import flag_of
from pymap.wire.types import ANSWERED, DRAFT, FLAGGED, SEEN

__all__ = ["query"]

_TOKEN = re.compile(r'[(){}]|-(?=[^\s-])|"[^"]*"?|[A-Za-z_0-9]+:(?=\S)|[^\s(){}"]+')
_SIZE = re.compile(r"(\d{1,12})([kKmM]?)[bB]?")
_DATE = re.compile(r"(\d{4})[/-](\d{1,2})[/-](\d{1,2})")
_SECONDS = re.compile(r"\d{8,12}")
_AGE = re.compile(r"(\d{1,5})([hdmy])")
_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
_AGES = {"h": 3600, "d": 86400, "m": 30 * 86400, "y": 365 * 86400}
_NOT_HERE = ("filename", "category", "list", "deliveredto", "circle")


def query(text: str, enter: Callable[[int], None], depth: int) -> k.SearchKey:
    """`enter` counts a key at some depth, and raises what is too many."""
    return _Parser(text, enter).query(depth, "")


class _Parser:
    def __init__(self, text: str, enter: Callable[[int], None]) -> None:
        self.tokens: list[str] = _TOKEN.findall(text)
        self.at = 0
        self.enter = enter

    @property
    def next(self) -> str:
        """Empty at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.next
        self.at += 1
        return token

    def query(self, depth: int, end: str) -> k.SearchKey:
        """Up to the bracket that ends it, which is taken."""
        keys: list[k.SearchKey] = []
        while self.next and self.next != end:
            keys.append(self.either(depth))
        self.at += 1
        return _all(keys)

    def either(self, depth: int) -> k.SearchKey:
        keys = [self.term(depth)]
        while self.next == "OR":
            self.at += 1
            if self.next and self.next not in ")}":
                keys.append(self.term(depth))
        return _any(keys)

    def term(self, depth: int) -> k.SearchKey:
        self.enter(depth)
        token = self.take()
        if token == "-":
            return k.Not(self.term(depth + 1)) if self.next else k.All()
        if token == "(":
            return self.query(depth + 1, ")")
        if token == "{":
            return self.any_of(depth + 1)
        if token in (")", "}", "AND"):
            return k.All()
        name = token[:-1].lower()
        if token.endswith(":") and name in _NOT_HERE:
            raise Refused("CANNOT", "This operator is not known here")
        if token.endswith(":") and (operator := _OPERATORS.get(name)):
            return self.value(operator, depth)
        if token.endswith(":"):
            token += self.take()
        return k.Text(_unquoted(token))

    def any_of(self, depth: int) -> k.SearchKey:
        keys: list[k.SearchKey] = []
        while self.next and self.next != "}":
            keys.append(self.term(depth))
        self.at += 1
        return _any(keys)

    def value(self, operator: Callable[[str], k.SearchKey], depth: int) -> k.SearchKey:
        """An operator before brackets is one before each value in them."""
        self.enter(depth)
        token = self.take()
        if token not in ("(", "{"):
            return operator(_unquoted(token))
        keys, together, end = [], token == "(", ")" if token == "(" else "}"
        while self.next and self.next != end:
            if self.next in ("OR", "AND"):
                together = together and self.next == "AND"
                self.at += 1
            else:
                keys.append(self.value(operator, depth + 1))
        self.at += 1
        return _all(keys) if together else _any(keys)


def _all(keys: list[k.SearchKey]) -> k.SearchKey:
    return keys[0] if len(keys) == 1 else k.And(tuple(keys)) if keys else k.All()


def _any(keys: list[k.SearchKey]) -> k.SearchKey:
    """A tree whose depth is the logarithm of their number."""
    if len(keys) < 2:
        return keys[0] if keys else k.All()
    half = len(keys) // 2
    return k.Or(_any(keys[:half]), _any(keys[half:]))


def _unquoted(token: str) -> str:
    return token.strip('"') if token.startswith('"') else token


def _is(text: str) -> k.SearchKey:
    if key := _STATES.get(text.lower()):
        return key
    raise BadCommand("Unknown state")


def _has(text: str) -> k.SearchKey:
    if text.lower() == "attachment":
        return k.Attachment()
    raise Refused("CANNOT", "This operator is not known here")


def _in(text: str) -> k.SearchKey:
    """A place; Gmail takes states for one, too."""
    if text.lower() == "anywhere":
        return k.All()
    return _STATES.get(text.lower()) or k.InMailbox(text, flag_of(text))


def _size(larger: bool) -> Callable[[str], k.SearchKey]:
    def size(text: str) -> k.SearchKey:
        found = _SIZE.fullmatch(text)
        if found is None:
            raise BadCommand("Expected a size")
        return k.Size(int(found[1]) * _UNITS[found[2].lower()], larger)

    return size


def _day(compare: k.Compare) -> Callable[[str], k.SearchKey]:
    def day(text: str) -> k.SearchKey:
        if _SECONDS.fullmatch(text):
            return k.Date(k.DateKey.INTERNAL, compare, int(text) // 86400)
        found = _DATE.fullmatch(text)
        if found is None:
            raise BadCommand("Expected a date")
        year, month, day = map(int, found.groups())
        if not (year and 1 <= month <= 12 and 1 <= day <= 31):
            raise BadCommand("No such date")
        return k.Date(k.DateKey.INTERNAL, compare, timegm((year, month, day, 0, 0, 0)) // 86400)

    return day


def _age(older: bool) -> Callable[[str], k.SearchKey]:
    def age(text: str) -> k.SearchKey:
        found = _AGE.fullmatch(text.lower())
        if found is None:
            raise BadCommand("Expected an age")
        return k.Within(int(found[1]) * _AGES[found[2]], older)

    return age


_STATES: dict[str, k.SearchKey] = {
    "unread": k.Not(k.HasFlag(SEEN)),
    "read": k.HasFlag(SEEN),
    "starred": k.HasFlag(FLAGGED),
    "unstarred": k.Not(k.HasFlag(FLAGGED)),
    "important": k.HasFlag(flag_of("\\Important")),
    "answered": k.HasFlag(ANSWERED),
    "draft": k.HasFlag(DRAFT),
}

_OPERATORS: dict[str, Callable[[str], k.SearchKey]] = {
    "from": lambda text: k.Header("FROM", text),
    "to": lambda text: k.Or(k.Header("TO", text), k.Header("CC", text)),
    "cc": lambda text: k.Header("CC", text),
    "bcc": lambda text: k.Header("BCC", text),
    "subject": lambda text: k.Header("SUBJECT", text),
    "rfc822msgid": lambda text: k.Header("MESSAGE-ID", text),
    "label": lambda text: k.HasFlag(flag_of(text)),
    "is": _is,
    "has": _has,
    "in": _in,
    "larger": _size(larger=True),
    "size": _size(larger=True),
    "smaller": _size(larger=False),
    "after": _day(k.Compare.SINCE),
    "newer": _day(k.Compare.SINCE),
    "before": _day(k.Compare.BEFORE),
    "older": _day(k.Compare.BEFORE),
    "older_than": _age(older=True),
    "newer_than": _age(older=False),
}
