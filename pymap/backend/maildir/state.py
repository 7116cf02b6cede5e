"""What is known of one Maildir in memory, and the steps by which it changes."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from pymap.backend.index import Addition, MessageIndex
from pymap.backend.maildir.filenames import split
from pymap.wire.types import NO_UIDS, Flag, UidSet

__all__ = ["Row", "State", "Step", "addition", "base_of"]

SLICE = 2000  # messages in one record of the log: nobody waits long for one of them


def now_modseq() -> int:
    """Microseconds since 1970: a modseq that no clock before can have reached by counting.

    Every new modseq is the clock or, if that is higher, the last one and one more. So whatever
    was lost with an index, the next modseq is above all that were ever told.   RFC 7162 3.1
    """
    return time.time_ns() // 1000


@dataclass(slots=True)
class Step:
    """All that one modseq did to a mailbox.

    `names` are the files of the messages added, relative to the mailbox. `flagged` are groups of
    messages with the flags that they now have and the end of their file names, from the colon;
    None where the name stayed as it was.
    """

    modseq: int
    uid_next: int
    added: Addition | None = None
    names: Sequence[str] = ()
    flagged: list[tuple[UidSet, frozenset[Flag], str | None]] = field(default_factory=list)
    vanished: UidSet = NO_UIDS
    recent_from: int | None = None
    letters: Sequence[str] | None = None
    """The names of the keyword letters a to z, when they have changed."""

    def slices(self) -> Iterator[Step]:
        """The same as steps of bounded size, all at this modseq."""
        added = self.added
        if added is None or len(added.uids) <= SLICE:
            yield self
            return
        rest = Step(
            self.modseq, self.uid_next, flagged=self.flagged, vanished=self.vanished,
            recent_from=self.recent_from, letters=self.letters,
        )  # fmt: skip
        for start in range(0, len(added.uids), SLICE):
            part = slice(start, start + SLICE)
            some = Addition(
                added.uids[part], added.flags[part], added.sets, added.sizes[part],
                added.dates[part], added.zones[part], added.saved[part], added.email_ids[part],
            )  # fmt: skip
            rest.added, rest.names = some, list(islice(self.names, start, start + SLICE))
            yield rest
            rest = Step(self.modseq, self.uid_next)


class State:
    """The columns of a mailbox and the file of each message.

    `names` are relative: ``cur/...`` or, on a disk that cannot be written, ``new/...``.
    """

    __slots__ = ("_uid_of", "index", "letters", "names", "recent_from")

    def __init__(self) -> None:
        self.index = MessageIndex(modseq=1)
        self.names: dict[int, str] = {}
        self.recent_from = 1  # UIDs from here on are \Recent to the next who asks
        self.letters: Sequence[str] = ()
        """What the keyword letters were called: should their file be lost, it is written anew."""
        self._uid_of: dict[str, int] | None = None

    def uid_of(self) -> dict[str, int]:
        """By the part of the file name that stays. Made when it is first asked for."""
        if self._uid_of is None:
            self._uid_of = {base_of(name): uid for uid, name in self.names.items()}
        return self._uid_of

    def next_modseq(self) -> int:
        return max(self.index.modseq + 1, now_modseq())

    def _known(self, uids: UidSet) -> Iterable[int]:
        """Those that are there. Looked up one by one: a set may have as many ranges as UIDs."""
        names = self.names
        if len(uids) > 2 * len(names):
            return uids.present_in(self.index.uids)
        return [uid for uid in uids if uid in names]

    def take(self, step: Step) -> None:
        """Follow a step. Nobody may read the columns in another thread meanwhile."""
        names, uid_of, index = self.names, self._uid_of, self.index
        if step.added is not None and index.uids and step.added.uids[0] <= index.uids[-1]:
            # Another process tells of what was found here at the same time.
            step = _only_above(step, index.uids[-1])
        for uid in self._known(step.vanished):
            name = names.pop(uid)
            if uid_of is not None:
                uid_of.pop(base_of(name), None)
        for uids, _, info in step.flagged:
            if info is not None:
                for uid in self._known(uids):
                    names[uid] = f"cur/{base_of(names[uid])}{info}"
        if step.added is not None:
            names.update(zip(step.added.uids, step.names, strict=True))
            if uid_of is not None:
                uid_of.update(
                    (base_of(name), uid)
                    for uid, name in zip(step.added.uids, step.names, strict=True)
                )
        if step.letters is not None:
            self.letters = step.letters
        if step.recent_from is not None:
            self.recent_from = max(self.recent_from, step.recent_from)
        index.uid_next = max(index.uid_next, step.uid_next)
        if step.modseq != index.modseq or step.added is not None:
            flagged = [(uids, flags) for uids, flags, _ in step.flagged]
            index.follow(step.modseq, step.added, flagged, step.vanished)


def _only_above(step: Step, highest: int) -> Step:
    """The same step without the messages up to `highest`."""
    assert step.added is not None
    part = slice(bisect_right(step.added.uids, highest), None)
    a = step.added
    added = Addition(
        a.uids[part], a.flags[part], a.sets, a.sizes[part], a.dates[part], a.zones[part],
        a.saved[part], a.email_ids[part],
    )  # fmt: skip
    return replace(step, added=added, names=step.names[part])


def base_of(name: str) -> str:
    """``cur/BASE:2,S`` -> BASE"""
    return split(name[4:])[0]


Row = tuple[int, frozenset[Flag], int, int, int, int, str]
"""UID, flags, size, seconds and zone of the internal date, save date, email id."""


def addition(rows: Iterable[Row]) -> Addition:
    """Rows as columns."""
    numbers: dict[frozenset[Flag], int] = {}
    made = Addition(
        array("I"), array("I"), [], array("Q"), array("q"), array("h"), array("q"), []
    )  # fmt: skip
    for uid, flags, size, seconds, zone, saved, email_id in rows:
        made.uids.append(uid)
        made.flags.append(numbers.setdefault(flags, len(numbers)))
        made.sizes.append(size)
        made.dates.append(seconds)
        made.zones.append(zone)
        made.saved.append(saved)
        made.email_ids.append(email_id)
    return made._replace(sets=list(numbers))
