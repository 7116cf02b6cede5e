"""What one client knows of its mailbox: the map between sequence numbers and UIDs.

Rule 1: a sequence number is a position in `uids`, an array that is shared with the mailbox's
        index and all other views that are in step. It is never written here.
Rule 2: the client's numbers move only in `news`, and only when it may be told of expunges.
        While it may not, nothing that would renumber is told: new messages wait as well.
Rule 3: two marks say what was told: `told` of everything, `told_flags` of flag changes alone,
        which may run ahead.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pymap.backend.api import Mailbox, Stored
from pymap.backend.index import MessageIndex
from pymap.backend.opened import OpenMailbox
from pymap.wire.errors import BadCommand
from pymap.wire.types import NO_UIDS, SequenceSet, UidSet

if TYPE_CHECKING:
    from pymap.imap.contexts import Contexts

__all__ = ["Batch", "MailboxView", "News", "Slices", "spans"]

Slices = list[tuple[int, int]]
"""Positions in a view, as ascending slices (start, stop)."""


class News(NamedTuple):
    """What a client has to be told, in this order."""

    vanished: UidSet
    expunged: list[int]
    """The same as sequence numbers, the highest first, so that none moves another."""
    exists: int | None
    """The new number of messages, if there are more."""
    changed: Slices
    """Messages with new flags, by their new positions."""


class Batch(NamedTuple):
    """Some messages of a view that still exist: where they stand for the client, and in the
    index. Both are ranges while view and index are in step, else lists."""

    positions: Sequence[int]
    rows: Sequence[int]
    uids: Sequence[int]


def spans(slices: Slices, size: int) -> Iterator[tuple[int, int]]:
    """The same positions in slices of at most `size`."""
    for first, last in slices:
        for start in range(first, last, size):
            yield start, min(start + size, last)


class MailboxView:
    __slots__ = (
        "contexts", "exists", "keywords", "mailbox", "opened", "readonly", "recent", "rekeyed",
        "saved", "told", "told_flags", "uid_next", "uid_only", "uids",
    )  # fmt: skip

    def __init__(
        self,
        opened: OpenMailbox,
        readonly: bool,
        uid_only: bool = False,
        mailbox: Mailbox | None = None,
    ) -> None:
        """`opened` has been synced. `uid_only`: the client knows no sequence numbers (RFC 9586).
        `mailbox` is the same one with this session's rights."""
        index = opened.index
        self.opened = opened
        self.mailbox = mailbox or opened.mailbox
        self.readonly = readonly
        self.uid_only = uid_only
        self.uids: array[int] = index.uids
        self.exists = len(index.uids)
        self.uid_next = index.uid_next
        self.told = self.told_flags = index.modseq
        self.keywords = len(index.flags.keywords)  # how many FLAGS told of
        self.recent = NO_UIDS
        self.saved = NO_UIDS  # the $ of SEARCHRES
        self.rekeyed = 0  # of `OpenMailbox.rekeyed`, what the client was told
        self.contexts: Contexts | None = None  # searches that are kept current

    @property
    def index(self) -> MessageIndex:
        return self.opened.index

    @property
    def recent_count(self) -> int:
        """Of the messages that the client knows of: more may have been claimed already."""
        return len(self.recent.present_in(self.uids, self.exists)) if self.recent else 0

    # -- numbers --

    def resolve(self, numbers: SequenceSet, by_uid: bool, strict: bool = True) -> Slices:
        """The positions that a command means. Two bisects a range, not a walk.

        Sequence numbers that do not exist are the client's mistake if `strict`; UIDs that do
        not exist never are.   RFC 9051 6.4.9, 9 (seq-number)
        """
        if numbers.saved:
            return self.saved.slices(self.uids, self.exists)
        if by_uid:
            highest = self.uids[self.exists - 1] if self.exists else 0
            return UidSet(numbers.resolve(highest)).slices(self.uids, self.exists)
        exists = self.exists
        if strict:
            for first, last in numbers.ranges:
                # A range that ends in * may begin above it: 5:* of four messages is 4:5, and
                # clients use it to ask for what is new.
                if not exists or (first > exists and last) or (last > exists and first):
                    raise BadCommand("No such message")
        found = []
        for first, last in numbers.resolve(exists):
            if first <= exists:
                found.append((first - 1, min(last, exists)))
        return found

    def uid_set(self, slices: Slices) -> UidSet:
        """The UIDs at some positions."""
        if len(slices) == 1:
            return UidSet.from_sorted(self.uids[slices[0][0] : slices[0][1]])
        uids: list[int] = []
        for start, stop in slices:
            uids.extend(self.uids[start:stop])
        return UidSet.from_sorted(uids)

    def searched(self, numbers: SequenceSet, by_uid: bool) -> UidSet:
        """The UIDs that a search key means, and such as are in between and not there: as many
        ranges as the client wrote, however many messages that is."""
        if numbers.saved:
            return self.saved
        if by_uid:
            return UidSet(numbers.resolve(self.uids[self.exists - 1] if self.exists else 0))
        return self.uid_ranges(self.resolve(numbers, by_uid=False, strict=False))

    def uid_ranges(self, slices: Slices) -> UidSet:
        """The same of some positions."""
        return UidSet((self.uids[start], self.uids[stop - 1]) for start, stop in slices)

    @property
    def in_step(self) -> bool:
        """Whether a position here is a row of the index."""
        return self.uids is self.opened.index.uids

    def batch(self, start: int, stop: int) -> Batch:
        """The messages at some positions, as the index has them now: good until the next await."""
        uids = self.uids[start:stop]
        if self.in_step:
            span = range(start, stop)
            return Batch(span, span, uids)
        return self._behind(start, uids)

    def batch_of(self, uids: UidSet) -> Batch:
        """The same of some messages, wherever they stand."""
        slices = uids.slices(self.uids, self.exists)
        if len(slices) == 1:
            return self.batch(*slices[0])
        positions: list[int] = []
        rows: list[int] = []
        present: list[int] = []
        for start, stop in slices:
            some = self.batch(start, stop)
            positions += some.positions
            rows += some.rows
            present += some.uids
        return Batch(positions, rows, present)

    def _behind(self, start: int, uids: Sequence[int]) -> Batch:
        index = self.opened.index.uids
        positions, rows, present = [], [], []
        row = 0
        for position, uid in enumerate(uids, start):
            row = bisect_left(index, uid, row)
            if row < len(index) and index[row] == uid:
                positions.append(position)
                rows.append(row)
                present.append(uid)
        return Batch(positions, rows, present)

    # -- news --

    def news(self, may_expunge: bool) -> News | None:
        """What this client has to be told now, and from now on knows. None is the usual answer
        and costs two comparisons."""
        index = self.opened.index
        modseq = index.modseq
        if self.told == modseq and self.told_flags == modseq:
            return None
        changed = index.changed_since(self.told_flags)
        known = UidSet(((1, self.uid_next - 1),)) if self.uid_next > 1 else NO_UIDS
        gone = self.gone()
        self.told_flags = modseq
        if gone and not may_expunge:
            return News(NO_UIDS, [], None, (changed & known).slices(self.uids, self.exists))
        vanished = self.uid_set(gone)
        expunged = [n for start, stop in reversed(gone) for n in range(stop, start, -1)]
        before = self.exists - len(expunged)
        self.uids, self.exists, self.uid_next = index.uids, len(index.uids), index.uid_next
        self.told = modseq
        if vanished:
            self.recent -= vanished
            self.saved -= vanished
        return News(
            vanished,
            expunged,
            self.exists if self.exists != before else None,
            (changed & known).slices(self.uids, self.exists),
        )

    def gone(self) -> Slices:
        """The positions of messages that the index no longer has, and the client still counts."""
        index = self.opened.index
        if self.in_step:
            return []
        vanished = index.vanished_since(self.told)
        if vanished is None:
            known = UidSet.from_sorted(self.uids[: self.exists])
            vanished = known - known.present_in(index.uids)
        return vanished.slices(self.uids, self.exists)

    def untold(self) -> UidSet:
        """The messages with new flags that this client has not been told of."""
        if self.told_flags == self.opened.index.modseq or self.uid_next == 1:
            return NO_UIDS
        changed = self.opened.index.changed_since(self.told_flags)
        return changed & UidSet(((1, self.uid_next - 1),))

    def stored(self, done: Stored, known: int) -> bool:
        """Note a STORE of this session, whose answer tells of it, as of all flag changes up to
        modseq `known`. False if another's change came in between: then `news` tells of both."""
        if done.before != known:
            return False
        if self.told == known:
            self.told = done.modseq
        self.told_flags = done.modseq
        return True
