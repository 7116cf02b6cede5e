"""One set of columns per mailbox and process, shared by every session that has it open.

Rule 1: no object per message. A message is a position in parallel arrays, ascending by UID;
        its flags are a number into a table of the distinct flag sets.
Rule 2: the `uids` array only ever grows in place. An expunge makes a new one. So a session that
        has not been told yet keeps reading the array it knows, together with its length, and
        ten thousand sessions that are in step share one.
Rule 3: `changes` costs what happened, not what is there: a log holds the sets of UIDs by modseq.
        What the log has forgotten of flags is in the `modseqs` column; what it has forgotten of
        expunges is said to be incomplete.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, compress
from typing import NamedTuple

from pymap.backend.api import Changes, MailboxStatus, Row, Stored
from pymap.backend.errors import LimitReached
from pymap.wire.types import (
    DELETED,
    NO_UIDS,
    RECENT,
    SEEN,
    SYSTEM_FLAGS,
    Flag,
    FlagOp,
    InternalDate,
    UidSet,
)

__all__ = ["NO_SAVE_DATE", "Addition", "ChangeLog", "FlagTable", "MessageIndex", "NewRow"]

NO_SAVE_DATE = -1
MANY_SLICES = 64
COMPACT_AT = 1 << 20  # octets of rendered flag sets


class FlagTable:
    """The distinct flag sets of a mailbox, numbered, with their text as FETCH shows it.

    A keyword keeps the spelling it was first seen in. `limit` bounds the keywords.
    """

    __slots__ = (
        "_numbers", "_order", "cost", "keywords", "limit", "rendered", "rendered_recent", "sets",
    )  # fmt: skip

    def __init__(self, limit: int = 1 << 30) -> None:
        self.limit = limit
        self.keywords: dict[str, Flag] = {}  # by folded name, in order of appearance
        self._order = {flag: at for at, flag in enumerate(SYSTEM_FLAGS)}
        self._clear()

    def _clear(self) -> None:
        self.sets: list[frozenset[Flag]] = []
        self.rendered: list[bytes] = []
        self.rendered_recent: list[bytes] = []
        self.cost = 0  # octets of what is rendered
        self._numbers: dict[frozenset[Flag], int] = {}
        self.number(frozenset())

    def admit(self, flags: frozenset[Flag]) -> None:
        """Make room for the keywords among `flags`. Raises LimitReached, then nothing changed."""
        new = [f for f in flags if f not in self._order]
        if len(self.keywords) + len(new) > self.limit:
            raise LimitReached("Too many different keywords in this mailbox")
        for flag in sorted(new, key=str):
            self.keywords[flag.folded] = flag
            self._order[flag] = len(self._order)

    def number(self, flags: frozenset[Flag]) -> int:
        """The number of a flag set; its keywords have been admitted."""
        known = self._numbers.get(flags)
        if known is not None:
            return known
        spelled = frozenset(self.keywords.get(f.folded, f) for f in flags)
        shown = [f for f in spelled if not f.is_label]
        names = [f.name.encode("ascii") for f in sorted(shown, key=self._order.__getitem__)]
        self._numbers[spelled] = number = len(self.sets)
        self.sets.append(spelled)
        self.rendered.append(b" ".join(names))
        self.rendered_recent.append(b" ".join([*names, RECENT.name.encode("ascii")]))
        self.cost += 2 * len(self.rendered[-1]) + 64 * len(spelled) + 400
        return number

    def keep(self, numbers: set[int]) -> dict[int, int]:
        """Forget all other flag sets; returns the new number of each that stays."""
        kept = {number: self.sets[number] for number in sorted(numbers)}
        self._clear()
        return {number: self.number(flags) for number, flags in kept.items()}

    def known(self) -> bytes:
        """All flags that messages of the mailbox can have, rendered: the FLAGS response."""
        keywords = [flag for flag in self.keywords.values() if not flag.is_label]
        return " ".join(map(str, (*SYSTEM_FLAGS, *keywords))).encode("ascii")

    def having(self, flag: Flag) -> list[bool]:
        """By number, whether the set holds `flag`: SEARCH by flag is a look-up over a column."""
        return [flag in flags for flags in self.sets]


class ChangeLog:
    """What changed at which modseq, as sets of UIDs, up to a bounded number of ranges.

    `floor` is the oldest modseq that `since` can be asked about.
    """

    __slots__ = ("_cost", "_max_ranges", "_modseqs", "_sets", "floor")

    def __init__(self, floor: int, max_ranges: int = 100_000) -> None:
        self.floor = floor
        self._max_ranges = max_ranges
        self._modseqs: list[int] = []
        self._sets: list[UidSet] = []
        self._cost = 0

    def add(self, modseq: int, uids: UidSet) -> None:
        self._modseqs.append(modseq)
        self._sets.append(uids)
        self._cost += len(uids.ranges)
        if self._cost > self._max_ranges and len(self._sets) > 1:
            half = len(self._sets) // 2
            self.floor = self._modseqs[half - 1]
            self._cost -= sum(len(uids.ranges) for uids in self._sets[:half])
            del self._modseqs[:half], self._sets[:half]

    def entries(self) -> list[tuple[int, UidSet]]:
        """All that is known, for a store that keeps it."""
        return list(zip(self._modseqs, self._sets, strict=True))

    def since(self, modseq: int) -> UidSet:
        """All that changed after `modseq`, strictly; `modseq` is not below `floor`."""
        at = bisect_right(self._modseqs, modseq)
        if at == len(self._sets):
            return NO_UIDS
        if at == len(self._sets) - 1:
            return self._sets[at]
        return UidSet(pair for uids in self._sets[at:] for pair in uids.ranges)


def gather(column: array[int], slices: list[tuple[int, int]]) -> array[int]:
    """The values of a column at some positions: many short slices are taken one by one."""
    if len(slices) > MANY_SLICES:
        positions = chain.from_iterable(range(start, stop) for start, stop in slices)
        return array(column.typecode, map(column.__getitem__, positions))
    values = array(column.typecode)
    for start, stop in slices:
        values += column[start:stop]
    return values


class NewRow(NamedTuple):
    """A message to be added by the store whose truth the index is."""

    flags: frozenset[Flag]
    size: int
    internal_date: InternalDate
    save_date: int | None
    email_id: str


class Addition(NamedTuple):
    """Messages to be added in bulk, ascending by UID, as columns: `flags` are numbers into `sets`,
    the other columns those of MessageIndex. Made in any thread."""

    uids: array[int]
    flags: array[int]
    sets: Sequence[frozenset[Flag]]
    sizes: array[int]
    dates: array[int]
    zones: array[int]
    saved: array[int]
    email_ids: list[str]


class MessageIndex:
    """The columns of one mailbox, and its change log.

    The arrays are read freely and written here only. `listeners` are called after each change.
    A store whose truth this is uses `append`, `store` and `expunge`; one that works its changes
    out before it applies them uses `follow`, a mirror of another store `apply`.
    """

    __slots__ = (
        "_compact_at", "changed_log", "counts", "dates", "email_ids", "flags", "flagsets", "gone",
        "listeners", "modseq", "modseqs", "saved", "size", "sizes", "uid_next", "uids",
        "vanished_log", "zones",
    )  # fmt: skip

    def __init__(self, uid_next: int = 1, modseq: int = 1, max_keywords: int = 1 << 30) -> None:
        self.uid_next = uid_next
        self.modseq = modseq
        self.flags = FlagTable(max_keywords)
        self.uids = array("I")
        self.modseqs = array("Q")
        self.flagsets = array("I")
        self.sizes = array("Q")
        self.dates = array("q")  # seconds since 1970 UTC
        self.zones = array("h")  # minutes east
        self.saved = array("q")
        self.email_ids: list[str] = []
        self.counts: Counter[int] = Counter()  # messages by flag set
        self.size = 0  # octets of all messages
        self.changed_log = ChangeLog(modseq)
        self.vanished_log = ChangeLog(modseq)
        self.listeners: set[Callable[[], None]] = set()
        self.gone = False
        self._compact_at = COMPACT_AT

    # -- reading --

    def status(self, recent: int) -> MailboxStatus:
        unseen = deleted = 0
        for number, count in self.counts.items():
            flags = self.flags.sets[number]
            unseen += count * (SEEN not in flags)
            deleted += count * (DELETED in flags)
        deleted_size = 0
        if deleted:
            having = self.flags.having(DELETED)
            deleted_size = sum(compress(self.sizes, map(having.__getitem__, self.flagsets)))
        return MailboxStatus(
            len(self.uids),
            recent,
            unseen,
            deleted,
            deleted_size,
            self.size,
            self.uid_next,
            self.modseq,
        )

    def first_without(self, flag: Flag) -> int | None:
        """The position of the first message that lacks `flag`: SELECT's UNSEEN."""
        having = self.flags.having(flag)
        if all(having[number] for number, count in self.counts.items() if count):
            return None
        return next(at for at, number in enumerate(self.flagsets) if not having[number])

    def changes(self, since: int) -> Changes:
        """What happened after modseq `since`, strictly."""
        vanished = self.vanished_since(since)
        return Changes(
            self.modseq, self.changed_since(since), vanished or NO_UIDS, vanished is not None
        )

    def changed_since(self, modseq: int) -> UidSet:
        """The messages that are new or changed after `modseq`."""
        if modseq >= self.modseq:
            return NO_UIDS
        if modseq >= self.changed_log.floor:
            return self.changed_log.since(modseq).present_in(self.uids)
        newer = [uid for uid, at in zip(self.uids, self.modseqs, strict=True) if at > modseq]
        return UidSet.from_sorted(newer)

    def newer(self, uids: UidSet, modseq: int) -> UidSet:
        """Those of `uids` with a modseq above `modseq`."""
        found: list[int] = []
        for start, stop in uids.slices(self.uids):
            if max(self.modseqs[start:stop]) > modseq:
                found.extend(
                    uid
                    for uid, m in zip(self.uids[start:stop], self.modseqs[start:stop], strict=True)
                    if m > modseq
                )
        return UidSet.from_sorted(found)

    def vanished_since(self, modseq: int) -> UidSet | None:
        """The UIDs expunged after `modseq`; None if that is no longer known."""
        if modseq >= self.modseq:
            return NO_UIDS
        return self.vanished_log.since(modseq) if modseq >= self.vanished_log.floor else None

    def flagged(self, flag: Flag) -> UidSet:
        """The messages that have `flag`."""
        having = self.flags.having(flag)
        marked = compress(self.uids, map(having.__getitem__, self.flagsets))
        return UidSet.from_sorted(list(marked))

    def position(self, uid: int) -> int | None:
        at = bisect_right(self.uids, uid) - 1
        return at if at >= 0 and self.uids[at] == uid else None

    def sizes_of(self, uids: UidSet) -> Iterator[int]:
        """Of those that are there. Nothing is looked up before it is iterated over."""
        for start, stop in uids.slices(self.uids):
            yield from self.sizes[start:stop]

    def rows(self, uids: UidSet) -> list[Row]:
        sets = self.flags.sets
        return [
            Row(
                self.uids[at],
                self.modseqs[at],
                sets[self.flagsets[at]],
                self.sizes[at],
                InternalDate(self.dates[at], self.zones[at]),
                None if self.saved[at] == NO_SAVE_DATE else self.saved[at],
                self.email_ids[at],
            )
            for start, stop in uids.slices(self.uids)
            for at in range(start, stop)
        ]

    # -- writing, for the store whose truth this is --

    def append(self, rows: Sequence[NewRow]) -> UidSet:
        """Add messages at one new modseq; returns their UIDs. Raises LimitReached, then nothing
        was added."""
        if not rows:
            return NO_UIDS
        self.flags.admit(frozenset[Flag]().union(*(row.flags for row in rows)))
        first, modseq = self.uid_next, self.modseq + 1
        for uid, row in enumerate(rows, first):
            self._add(
                uid, modseq, row.flags, row.size, row.internal_date, row.save_date, row.email_id
            )
        self.uid_next = first + len(rows)
        made = UidSet(((first, self.uid_next - 1),))
        self._advance(modseq, changed=made)
        return made

    def copy_from(self, source: MessageIndex, uids: UidSet, save_date: int) -> UidSet:
        """Add copies of messages of another index, or of this one, column by column; returns their
        UIDs. Raises LimitReached, then nothing was added."""
        slices = uids.slices(source.uids)
        if not slices:
            return NO_UIDS
        numbers = source.flags.sets
        flagsets = gather(source.flagsets, slices)
        used = set(flagsets)
        self.flags.admit(frozenset[Flag]().union(*(numbers[number] for number in used)))
        become = {number: self.flags.number(numbers[number]) for number in used}
        count, first, modseq = len(flagsets), self.uid_next, self.modseq + 1
        flagsets = array("I", map(become.__getitem__, flagsets))
        sizes = gather(source.sizes, slices)
        self.size += sum(sizes)
        self.sizes += sizes
        self.dates += gather(source.dates, slices)
        self.zones += gather(source.zones, slices)
        for start, stop in slices:
            self.email_ids += source.email_ids[start:stop]
        self.flagsets += flagsets
        self.counts.update(flagsets)
        self.modseqs += array("Q", (modseq,)) * count
        self.saved += array("q", (save_date,)) * count
        self.uids.extend(range(first, first + count))
        self.uid_next = first + count
        made = UidSet(((first, self.uid_next - 1),))
        self._advance(modseq, changed=made)
        return made

    def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None
    ) -> Stored:
        """Change flags at one new modseq. Two bisects a range and a table look-up a message."""
        if op is not FlagOp.REMOVE:
            self.flags.admit(flags)
        before, modseq = self.modseq, self.modseq + 1
        become = _Become(self.flags, op, flags)
        changed: list[int] = []
        failed = NO_UIDS
        if unchanged_since is not None:
            failed = self.newer(uids, unchanged_since)
            uids -= failed
        slices = uids.slices(self.uids)
        if len(slices) > MANY_SLICES:
            changed = self._store_scattered(slices, become, modseq)
            slices = []
        for start, stop in slices:
            old = self.flagsets[start:stop]
            counted = Counter(old)
            if all(become[number] == number for number in counted):
                continue
            new = array("I", map(become.__getitem__, old))
            if all(become[number] != number for number in counted):
                changed.extend(self.uids[start:stop])
                self.modseqs[start:stop] = array("Q", (modseq,)) * (stop - start)
            else:
                for at, (a, b) in enumerate(zip(old, new, strict=True), start):
                    if a != b:
                        changed.append(self.uids[at])
                        self.modseqs[at] = modseq
            self.flagsets[start:stop] = new
            self.counts.subtract(counted)
            self.counts.update(new)
        if not changed:
            return Stored(before, before, NO_UIDS, failed)
        if self.flags.cost > self._compact_at:
            self._compact()
        made = UidSet.from_sorted(changed)
        self._advance(modseq, changed=made)
        return Stored(before, modseq, made, failed)

    def _store_scattered(
        self, slices: list[tuple[int, int]], become: dict[int, int], modseq: int
    ) -> list[int]:
        """STORE on single messages here and there: one by one is cheaper than slice by slice."""
        flagsets, modseqs, uids, counts = self.flagsets, self.modseqs, self.uids, self.counts
        changed = []
        for start, stop in slices:
            for at in range(start, stop):
                old = flagsets[at]
                new = become[old]
                if new != old:
                    flagsets[at] = new
                    modseqs[at] = modseq
                    counts[old] -= 1
                    counts[new] += 1
                    changed.append(uids[at])
        return changed

    def _compact(self) -> None:
        """Forget flag sets that no message has any more."""
        numbers = set(self.flagsets)
        become = self.flags.keep(numbers)
        self.flagsets[:] = array("I", map(become.__getitem__, self.flagsets))
        self.counts = Counter(self.flagsets)
        self._compact_at = max(COMPACT_AT, 2 * self.flags.cost)

    def expunge(self, uids: UidSet) -> UidSet:
        """Remove messages at one new modseq; returns those that were there."""
        gone = uids.present_in(self.uids)
        if gone:
            self._remove(gone)
            self._advance(self.modseq + 1, vanished=gone)
        return gone

    def close(self) -> None:
        """The mailbox was deleted: tell every session."""
        self.gone = True
        self.tell()

    # -- writing, for a store that has worked out the change --

    def follow(
        self,
        modseq: int,
        added: Addition | None = None,
        flagged: Sequence[tuple[UidSet, frozenset[Flag]]] = (),
        vanished: UidSet = NO_UIDS,
    ) -> None:
        """Take one step, all of it at `modseq`: new messages, above all there are; messages with
        the flags that they now have; messages that are gone. Costs some slices a range."""
        changed: list[int] = []
        if vanished:
            self._remove(vanished)
        for uids, flags in flagged:
            self.flags.admit(flags)
            number = self.flags.number(flags)
            slices = uids.slices(self.uids)
            if len(slices) > MANY_SLICES:
                self._store_scattered(slices, _Always(number), modseq)
                for start, stop in slices:
                    changed.extend(self.uids[start:stop])
                continue
            for start, stop in slices:
                count = stop - start
                self.counts.subtract(self.flagsets[start:stop])
                self.counts[number] += count
                self.flagsets[start:stop] = array("I", (number,)) * count
                self.modseqs[start:stop] = array("Q", (modseq,)) * count
                changed.extend(self.uids[start:stop])
        if added is not None and added.uids:
            for flags in added.sets:
                self.flags.admit(flags)
            become = [self.flags.number(flags) for flags in added.sets]
            flagsets = array("I", map(become.__getitem__, added.flags))
            self.modseqs += array("Q", (modseq,)) * len(added.uids)
            self.flagsets += flagsets
            self.counts.update(flagsets)
            self.sizes += added.sizes
            self.size += sum(added.sizes)
            self.dates += added.dates
            self.zones += added.zones
            self.saved += added.saved
            self.email_ids += added.email_ids
            self.uids += added.uids
            self.uid_next = max(self.uid_next, added.uids[-1] + 1)
            changed.extend(added.uids)
        if self.flags.cost > self._compact_at:
            self._compact()
        self._advance(modseq, UidSet.from_sorted(sorted(changed)), vanished)

    # -- writing, for a mirror --

    def apply(self, changes: Changes, rows: Iterable[Row], uid_next: int) -> None:
        """Follow another store: `rows` are those of `changes.changed` that still exist."""
        vanished = changes.vanished.present_in(self.uids)
        if vanished:
            self._remove(vanished)
        changed = []
        for row in rows:
            if row.modseq > changes.modseq:
                # Changed again since. No message may show more than HIGHESTMODSEQ; the next
                # pull brings the rest.
                row = row._replace(modseq=changes.modseq)
            self.flags.admit(row.flags)
            at = self.position(row.uid)
            if at is None:
                self._add(*row)
            else:
                self.counts[self.flagsets[at]] -= 1
                self.flagsets[at] = number = self.flags.number(row.flags)
                self.counts[number] += 1
                self.modseqs[at] = row.modseq
            changed.append(row.uid)
        self.uid_next = max(uid_next, self.uids[-1] + 1 if self.uids else 1)
        # The log keeps those too that were never here: a client may have met them elsewhere.
        self._advance(changes.modseq, UidSet.of(*changed), changes.vanished)

    # -- the arrays --

    def _add(
        self, uid: int, modseq: int, flags: frozenset[Flag], size: int,
        internal_date: InternalDate, save_date: int | None, email_id: str,
    ) -> None:  # fmt: skip
        number = self.flags.number(flags)
        self.uids.append(uid)
        self.modseqs.append(modseq)
        self.flagsets.append(number)
        self.sizes.append(size)
        self.dates.append(internal_date.seconds)
        self.zones.append(internal_date.zone)
        self.saved.append(NO_SAVE_DATE if save_date is None else save_date)
        self.email_ids.append(email_id)
        self.counts[number] += 1
        self.size += size

    def _remove(self, gone: UidSet) -> None:
        # Ranges from the end, so that the positions of the others hold. Many ranges would each
        # move the tails: then one pass over all columns is cheaper.
        slices = gone.slices(self.uids)
        for start, stop in slices:
            self.counts.subtract(self.flagsets[start:stop])
            self.size -= sum(self.sizes[start:stop])
        uids = self.uids[:]
        columns = (
            uids,
            self.modseqs,
            self.flagsets,
            self.sizes,
            self.dates,
            self.zones,
            self.saved,
        )
        if len(slices) < 16:
            for start, stop in reversed(slices):
                for column in columns:
                    del column[start:stop]
                del self.email_ids[start:stop]
        else:
            kept = bytearray(b"\1") * len(uids)
            for start, stop in slices:
                kept[start:stop] = bytes(stop - start)
            for column in columns:
                column[:] = array(column.typecode, compress(column, kept))
            self.email_ids[:] = compress(self.email_ids, kept)
        self.uids = uids  # rule 2

    def _advance(self, modseq: int, changed: UidSet = NO_UIDS, vanished: UidSet = NO_UIDS) -> None:
        self.modseq = modseq
        if changed:
            self.changed_log.add(modseq, changed)
        if vanished:
            self.vanished_log.add(modseq, vanished)
        self.tell()

    def tell(self) -> None:
        """Call the listeners."""
        for listener in tuple(self.listeners):
            listener()


class _Always(dict[int, int]):
    """By number of a flag set, always the same one."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __missing__(self, number: int) -> int:
        return self.number


class _Become(dict[int, int]):
    """By number of a flag set, the number that a STORE turns it into; worked out as asked."""

    def __init__(self, table: FlagTable, op: FlagOp, flags: frozenset[Flag]) -> None:
        self.table, self.op, self.flags = table, op, flags

    def __missing__(self, number: int) -> int:
        self[number] = made = self.table.number(self.op.apply(self.table.sets[number], self.flags))
        return made
