"""The values that every layer speaks: flags, sets of numbers, sections.

They know no octets but their own wire form, and import nothing of ours.
"""

from __future__ import annotations

import time
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

__all__ = [
    "ANSWERED",
    "DELETED",
    "DRAFT",
    "FLAGGED",
    "RECENT",
    "SEEN",
    "SYSTEM_FLAGS",
    "Flag",
    "DELIMITER",
    "LABEL_PREFIX",
    "NO_UIDS",
    "FlagOp",
    "InternalDate",
    "Section",
    "SectionText",
    "SequenceSet",
    "UidSet",
    "fold_inbox",
    "meant_name",
    "swap_delimiter",
]

DELIMITER = "/"
"""What separates levels of hierarchy in every mailbox name."""

LABEL_PREFIX = "$gm."
"""What keywords begin with that are Gmail's labels: see `labels`."""

MONTHS = tuple(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())
MAX_NUMBER = 0xFFFFFFFF  # number and nz-number are 32 bits, RFC 9051 9


@dataclass(frozen=True, slots=True, eq=False)
class Flag:
    r"""A system flag (``\Seen``) or a keyword (``$Junk``).

    The spelling is kept as given, comparison ignores ASCII case: RFC 9051 2.3.2 says that
    flags are case-insensitive, and clients expect to read back what they wrote.
    """

    name: str
    folded: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folded", self.name.lower())

    def __eq__(self, other: object) -> bool:
        return self.folded == other.folded if isinstance(other, Flag) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.folded)

    def __str__(self) -> str:
        return self.name

    @property
    def is_system(self) -> bool:
        return self.name.startswith("\\")

    @property
    def is_label(self) -> bool:
        """FLAGS does not show it."""
        return self.folded.startswith(LABEL_PREFIX)

    @classmethod
    def of(cls, name: str) -> Flag:
        """The flag of that name; system flags come back in their registered spelling."""
        return _BY_NAME.get(name.lower()) or cls(name)


SEEN = Flag("\\Seen")
ANSWERED = Flag("\\Answered")
FLAGGED = Flag("\\Flagged")
DELETED = Flag("\\Deleted")
DRAFT = Flag("\\Draft")
RECENT = Flag("\\Recent")
"""A fact about a session and a message (RFC 3501 2.3.2), never stored with the others."""

SYSTEM_FLAGS = (ANSWERED, FLAGGED, DELETED, SEEN, DRAFT)
_BY_NAME = {flag.folded: flag for flag in (*SYSTEM_FLAGS, RECENT)}


class FlagOp(Enum):
    """What STORE does with its flags: FLAGS, +FLAGS, -FLAGS.   RFC 9051 6.4.6"""

    SET = ""
    ADD = "+"
    REMOVE = "-"

    def apply(self, old: frozenset[Flag], flags: frozenset[Flag]) -> frozenset[Flag]:
        match self:
            case FlagOp.SET:
                return flags
            case FlagOp.ADD:
                return old | flags
            case FlagOp.REMOVE:
                return old - flags


class InternalDate(NamedTuple):
    """When a message was received: `seconds` since 1970 UTC, and the `zone` it was told in, in
    minutes east. SEARCH compares days by that zone.   RFC 9051 2.3.3, 6.4.4"""

    seconds: int
    zone: int = 0

    @property
    def day(self) -> int:
        """Days since 1970-01-01, "disregarding time and timezone".   RFC 9051 6.4.4"""
        return (self.seconds + self.zone * 60) // 86400

    def encode(self) -> bytes:
        """date-time, quotes included.   RFC 9051 9"""
        days, seconds = divmod(self.seconds + self.zone * 60, 86400)
        return b'"%b %02d:%02d:%02d %b"' % (
            _date_text(days), seconds // 3600, seconds // 60 % 60, seconds % 60,
            _zone_text(self.zone),
        )  # fmt: skip


@lru_cache(maxsize=4096)
def _date_text(days: int) -> bytes:
    year, month, day = time.gmtime(days * 86400)[:3]
    return b"%2d-%b-%04d" % (day, MONTHS[month - 1], year)


@lru_cache(maxsize=64)
def _zone_text(zone: int) -> bytes:
    return b"%c%02d%02d" % (b"-" if zone < 0 else b"+", abs(zone) // 60, abs(zone) % 60)


class SequenceSet(NamedTuple):
    """sequence-set of a command, as written: pairs of numbers in which 0 stands for ``*``.

    ``saved`` is the set ``$`` of SEARCHRES.   RFC 9051 9, 2.3.1, 6.4.4.1
    """

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    def resolve(self, highest: int) -> list[tuple[int, int]]:
        """Ascending, disjoint ranges (first, last), ``*`` being `highest`.

        In an empty mailbox (`highest` 0) there is nothing that ``*`` could mean. Order inside a
        range does not matter: ``5:3`` is ``3:5``, and ``*:1`` covers all.   RFC 9051 9, seq-range
        """
        pairs = []
        for first, last in self.ranges:
            a, b = first or highest, last or highest
            if a and b:
                pairs.append((a, b) if a <= b else (b, a))
        return merge_ranges(pairs)

    @property
    def has_star(self) -> bool:
        return any(not first or not last for first, last in self.ranges)

    def __str__(self) -> str:
        if self.saved:
            return "$"
        return ",".join(
            f"{a or '*'}" if a == b else f"{a or '*'}:{b or '*'}" for a, b in self.ranges
        )


def swap_delimiter(name: str, delimiter: str) -> str:
    """A name with another delimiter on the wire, and back: the two signs change places, so that no
    name is lost and none is had by two mailboxes."""
    if delimiter == DELIMITER:
        return name
    return name.translate({ord(DELIMITER): delimiter, ord(delimiter): DELIMITER})


def fold_inbox(name: str) -> str:
    """INBOX is the same in any case of its ASCII letters, also above others.   RFC 9051 5.1"""
    first, delimiter, rest = name.partition(DELIMITER)
    return f"INBOX{delimiter}{rest}" if first.isascii() and first.upper() == "INBOX" else name


def meant_name(name: str, delimiter: str) -> str:
    """The mailbox name that a client means, from the one that it wrote."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)  # Net-Unicode, RFC 9051 5.1
    return fold_inbox(swap_delimiter(name, delimiter))


def merge_ranges(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort ranges (first, last) and join those that touch or overlap; cost is that of a sort."""
    if len(pairs) < 2:
        return pairs
    pairs.sort()
    merged: list[tuple[int, int]] = []
    start, end = pairs[0]
    for first, last in pairs:
        if first > end + 1:
            merged.append((start, end))
            start, end = first, last
        elif last > end:
            end = last
    merged.append((start, end))
    return merged


class UidSet:
    """An immutable set of UIDs, kept as ascending, disjoint, non-touching ranges.

    A run of a million UIDs costs as much as one. Iteration is ascending.
    """

    __slots__ = ("ranges",)

    ranges: tuple[tuple[int, int], ...]

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """From ranges (first, last) in any order, each with 1 <= first <= last."""
        self.ranges = tuple(merge_ranges(list(ranges)))

    @classmethod
    def of(cls, *uids: int) -> UidSet:
        return cls.from_sorted(sorted(set(uids)))

    @classmethod
    def from_sorted(cls, uids: Sequence[int]) -> UidSet:
        """From strictly ascending UIDs (a list or an array). Cost: runs x log n, not a walk."""
        made = cls.__new__(cls)
        ranges = []
        start, n = 0, len(uids)
        while start < n:
            # uids[i] - i never falls, so the run that starts here ends where it first rises.
            offset = uids[start] - start
            step, known = 1, start
            while known + step < n and uids[known + step] - (known + step) == offset:
                known += step
                step *= 2
            low, high = known, min(known + step, n)  # low is in the run, high is not
            while high - low > 1:
                middle = (low + high) // 2
                if uids[middle] - middle == offset:
                    low = middle
                else:
                    high = middle
            ranges.append((uids[start], uids[low]))
            start = low + 1
        made.ranges = tuple(ranges)
        return made

    @classmethod
    def parse(cls, text: str) -> UidSet:
        """From its wire form, ``1:3,7``.   uid-set, RFC 9051 9"""
        pairs = []
        for part in text.split(",") if text else ():
            first, _, last = part.partition(":")
            pairs.append((int(first), int(last or first)))
        return cls((min(p), max(p)) for p in pairs)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, uid: int) -> bool:
        at = bisect_right(self.ranges, (uid, MAX_NUMBER + 1)) - 1
        return at >= 0 and uid <= self.ranges[at][1]

    def __eq__(self, other: object) -> bool:
        return self.ranges == other.ranges if isinstance(other, UidSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __or__(self, other: UidSet) -> UidSet:
        if not other.ranges:
            return self
        if not self.ranges:
            return other
        return UidSet((*self.ranges, *other.ranges))

    def __and__(self, other: UidSet) -> UidSet:
        made, i, j = [], 0, 0
        a, b = self.ranges, other.ranges
        while i < len(a) and j < len(b):
            first, last = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
            if first <= last:
                made.append((first, last))
            if a[i][1] < b[j][1]:
                i += 1
            else:
                j += 1
        return UidSet(made)

    def __sub__(self, other: UidSet) -> UidSet:
        if not other.ranges or not self.ranges:
            return self
        made, j = [], 0
        holes = other.ranges
        for first, last in self.ranges:
            while j < len(holes) and holes[j][1] < first:
                j += 1
            at = j
            while at < len(holes) and holes[at][0] <= last:
                if holes[at][0] > first:
                    made.append((first, holes[at][0] - 1))
                first = holes[at][1] + 1
                at += 1
            if first <= last:
                made.append((first, last))
        return UidSet(made)

    def __str__(self) -> str:
        return ",".join(f"{a}" if a == b else f"{a}:{b}" for a, b in self.ranges)

    def __repr__(self) -> str:
        return f"UidSet({str(self)!r})"

    @property
    def lowest(self) -> int:
        return self.ranges[0][0] if self.ranges else 0

    @property
    def highest(self) -> int:
        return self.ranges[-1][1] if self.ranges else 0

    def slices(self, uids: Sequence[int], end: int | None = None) -> list[tuple[int, int]]:
        """Where the members stand in an ascending column: slices (start, stop).

        Two bisects a range, not a walk. `end` bounds the part of the column that is looked at.
        """
        if end is None:
            end = len(uids)
        found: list[tuple[int, int]] = []
        start = 0
        for first, last in self.ranges:
            start = bisect_left(uids, first, start, end)
            if first == last:
                stop = start + 1 if start < end and uids[start] == first else start
            else:
                stop = bisect_right(uids, last, start, end)
            if start < stop:
                if found and found[-1][1] == start:
                    found[-1] = (found[-1][0], stop)
                else:
                    found.append((start, stop))
            if stop == end:
                break
            start = stop
        return found

    def present_in(self, uids: Sequence[int], end: int | None = None) -> UidSet:
        """The members that stand in an ascending column."""
        parts = self.slices(uids, end)
        if len(parts) == 1:
            return UidSet.from_sorted(uids[parts[0][0] : parts[0][1]])
        members: list[int] = []
        for start, stop in parts:
            members.extend(uids[start:stop])
        return UidSet.from_sorted(members)


NO_UIDS = UidSet()


class SectionText(Enum):
    """section-msgtext and MIME: which text of a message or part.   RFC 9051 6.4.5.1"""

    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


class Section(NamedTuple):
    """section-spec: ``1.2.HEADER.FIELDS (FROM TO)`` without its brackets.

    `path` is empty for the message itself; `text` None means the whole message or the body of
    the part. `fields` are header names as the client wrote them, in its order, for the two
    HEADER.FIELDS kinds.   RFC 9051 9, section-spec
    """

    path: tuple[int, ...] = ()
    text: SectionText | None = None
    fields: tuple[str, ...] = ()
