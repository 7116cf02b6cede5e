"""What SEARCH can ask for, as a tree of values.   RFC 9051 6.4.4

Texts are decoded when the tree is built; evaluation is in `imap/search.py`. Keys are no tuples, for
as such TEXT x and BODY x would be the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

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
    "HasFlag",
    "Header",
    "InBody",
    "InMailbox",
    "ModSeq",
    "Not",
    "Numbers",
    "Or",
    "Recent",
    "SearchKey",
    "SearchReturn",
    "Size",
    "Text",
    "ThreadId",
    "Within",
]


class SearchReturn(Enum):
    """search-return-opt.   RFC 4731 3.1, RFC 5182 2.1"""

    MIN = "MIN"
    MAX = "MAX"
    ALL = "ALL"
    COUNT = "COUNT"
    SAVE = "SAVE"


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
)


class SortKey(Enum):
    """sort-key   RFC 5256 5, RFC 5957 5"""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"


class Criterion(NamedTuple):
    """sort-criterion = ["REVERSE" SP] sort-key"""

    key: SortKey
    reverse: bool = False


THREAD_ALGORITHMS = ("ORDEREDSUBJECT", "REFERENCES", "REFS")
"""thread-alg   RFC 5256 5, draft-ietf-morg-inthread"""
