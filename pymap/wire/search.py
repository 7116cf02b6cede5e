"""What SEARCH can ask for, as a tree of values.   RFC 9051 6.4.4

Texts are decoded when the tree is built; evaluation is in `imap/search.py`. Keys are no tuples, for
as such TEXT x and BODY x would be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from pymap.wire.fetch import FetchItem
from pymap.wire.types import Flag, SequenceSet

__all__ = [
    "All",
    "And",
    "Attachment",
    "Compare",
    "Date",
    "DateKey",
    "EmailId",
    "Filter",
    "Gmail",
    "GmailMessageId",
    "GmailThreadId",
    "Fuzzy",
    "HasFlag",
    "Header",
    "InBody",
    "InMailbox",
    "ModSeq",
    "Not",
    "Numbers",
    "Or",
    "Partial",
    "Recent",
    "Returns",
    "SearchKey",
    "SearchReturn",
    "Size",
    "Text",
    "ThreadId",
    "Within",
    "leaves",
    "rebuilt",
]


class SearchReturn(Enum):
    """search-return-opt; the range of PARTIAL is in `Returns`.

    RFC 4731 3.1, RFC 5182 2.1, RFC 5267 4, RFC 9394 3.1, RFC 6203 4
    """

    MIN = "MIN"
    MAX = "MAX"
    ALL = "ALL"
    COUNT = "COUNT"
    SAVE = "SAVE"
    PARTIAL = "PARTIAL"
    UPDATE = "UPDATE"
    CONTEXT = "CONTEXT"
    RELEVANCY = "RELEVANCY"


class Partial(NamedTuple):
    """partial-range, as written: the first result is 1, or with `from_end` the last
    one.   RFC 9394 4, RFC 5267 5"""

    first: int
    last: int
    from_end: bool = False

    def of(self, count: int) -> slice:
        """Where the range is among so many results. It may be empty, and order makes no
        difference."""
        low, high = sorted((self.first, self.last))
        if self.from_end:
            return slice(max(count - high, 0), max(count - low + 1, 0))
        return slice(low - 1, high)

    def __str__(self) -> str:
        return f"-{self.first}:-{self.last}" if self.from_end else f"{self.first}:{self.last}"


@dataclass(frozen=True, slots=True)
class Returns:
    """What RETURN asks for. `partial` is there if and only if PARTIAL is among the options; `fetch`
    is what UPDATE wants to know of new messages (RFC 5465 7)."""

    options: frozenset[SearchReturn]
    partial: Partial | None = None
    fetch: tuple[FetchItem, ...] = ()

    def __contains__(self, option: SearchReturn) -> bool:
        return option in self.options


class Compare(Enum):
    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


class DateKey(Enum):
    """Which of a message's dates: INTERNALDATE, its Date header, SAVEDATE (RFC 8514 4.3)."""

    INTERNAL = "INTERNAL"
    SENT = "SENT"
    SAVED = "SAVED"


@dataclass(frozen=True, slots=True)
class All:
    """ALL; with `saved_dates`, SAVEDATESUPPORTED: all where the mailbox keeps save dates."""

    saved_dates: bool = False


@dataclass(frozen=True, slots=True)
class HasFlag:
    flag: Flag


@dataclass(frozen=True, slots=True)
class Recent:
    r"""RECENT: a fact about the session, not a flag.   RFC 3501 6.4.4"""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A message set: sequence numbers, or UIDs."""

    numbers: SequenceSet
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Size:
    """LARGER and SMALLER: strictly more, strictly less octets than `size`."""

    size: int
    larger: bool


@dataclass(frozen=True, slots=True)
class Date:
    key: DateKey
    compare: Compare
    day: int


@dataclass(frozen=True, slots=True)
class Within:
    """OLDER and YOUNGER.   RFC 5032"""

    seconds: int
    older: bool


@dataclass(frozen=True, slots=True)
class ModSeq:
    """MODSEQ: changed at `modseq` or later.   RFC 7162 3.1.5"""

    modseq: int


@dataclass(frozen=True, slots=True)
class EmailId:
    """EMAILID.   RFC 8474 6"""

    id: str


@dataclass(frozen=True, slots=True)
class ThreadId:
    """THREADID.   RFC 8474 6"""

    id: str


@dataclass(frozen=True, slots=True)
class GmailMessageId:
    """X-GM-MSGID"""

    number: int


@dataclass(frozen=True, slots=True)
class GmailThreadId:
    """X-GM-THRID"""

    number: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """has:attachment in X-GM-RAW."""


@dataclass(frozen=True, slots=True)
class InMailbox:
    """in: in X-GM-RAW: all, if that is the mailbox, and what has the label of that name."""

    name: str
    flag: Flag


@dataclass(frozen=True, slots=True)
class Gmail:
    """A key of X-GM-EXT-1, which may not be offered."""

    key: SearchKey


@dataclass(frozen=True, slots=True)
class Header:
    """HEADER, and its short forms FROM, TO, CC, BCC, SUBJECT: `text` in a field of that name."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class InBody:
    """BODY: `text` in the body."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """TEXT: `text` in the header or the body."""

    text: str


@dataclass(frozen=True, slots=True)
class Filter:
    """FILTER: what is kept under that name.   RFC 5466 3.1"""

    name: str


@dataclass(frozen=True, slots=True)
class Not:
    key: SearchKey


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class Or:
    left: SearchKey
    right: SearchKey


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """FUZZY: texts need not be the same, only alike.   RFC 6203 3"""

    key: SearchKey


SearchKey = (
    All
    | HasFlag
    | Recent
    | Numbers
    | Size
    | Date
    | Within
    | ModSeq
    | EmailId
    | ThreadId
    | GmailMessageId
    | GmailThreadId
    | Attachment
    | InMailbox
    | Gmail
    | Header
    | InBody
    | Text
    | Filter
    | Not
    | And
    | Or
    | Fuzzy
)


def leaves(key: SearchKey) -> Iterator[SearchKey]:
    """The keys in a tree that hold no other."""
    match key:
        case And(keys):
            for each in keys:
                yield from leaves(each)
        case Or(left, right):
            yield from leaves(left)
            yield from leaves(right)
        case Not(inner) | Fuzzy(inner):
            yield from leaves(inner)
        case _:
            yield key


def rebuilt(key: SearchKey, leaf: Callable[[SearchKey], SearchKey]) -> SearchKey:
    """The same tree with each of its leaves replaced by what `leaf` makes of it."""
    match key:
        case And(keys):
            return And(tuple(rebuilt(each, leaf) for each in keys))
        case Or(left, right):
            return Or(rebuilt(left, leaf), rebuilt(right, leaf))
        case Not(inner):
            return Not(rebuilt(inner, leaf))
        case Fuzzy(inner):
            return Fuzzy(rebuilt(inner, leaf))
    return leaf(key)


class SortKey(Enum):
    """sort-key   RFC 5256 5, RFC 5957 5, RFC 6203 6"""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"
    RELEVANCY = "RELEVANCY"


class Criterion(NamedTuple):
    """sort-criterion = ["REVERSE" SP] sort-key"""

    key: SortKey
    reverse: bool = False


THREAD_ALGORITHMS = ("ORDEREDSUBJECT", "REFERENCES", "REFS")
"""thread-alg   RFC 5256 5, draft-ietf-morg-inthread"""
