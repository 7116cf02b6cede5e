"""What the scripts tell of a mailbox, put into the columns of this process.

Rule 1: an answer is a list of what each modseq has done. Those that are known already are passed
        over, so answers may come in any order and overlap.
Rule 2: a mailbox is loaded in large pieces, at the modseq of the first one: what came later is in
        the log, which is pulled after the last piece.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import compress
from typing import Any

from pymap.backend.api import Changes, Row
from pymap.backend.index import Addition, MessageIndex
from pymap.wire.types import Flag, FlagOp, InternalDate, UidSet

__all__ = ["Columns", "Loaded", "pack_row", "pack_uids", "unpack_uids"]

DEAD = 0xFFFFFFFF
GIVEN = 1  # in `kind`: the email id was given and is kept apart
ID = 12  # octets of a message's id

_ROW = struct.Struct(f"<Qq{ID}shH")


def pack_row(size: int, date: InternalDate, message_id: bytes, given: bool) -> bytes:
    return _ROW.pack(size, date.seconds, message_id, date.zone, GIVEN if given else 0)


def pack_uids(uids: UidSet) -> bytes:
    flat = array("I")
    for pair in uids.ranges:
        flat.extend(pair)
    return flat.tobytes()


def unpack_uids(octets: bytes) -> UidSet:
    flat = array("I", octets)
    return UidSet(zip(flat[::2], flat[1::2], strict=True))


class Loaded:
    """All columns of a mailbox, as they come in pieces."""

    def __init__(self) -> None:
        self.uids, self.sets, self.saved = array("I"), array("I"), array("I")
        self.modseqs = array("Q")
        self.rows = bytearray()

    def add(self, columns: Sequence[bytes]) -> None:
        self.uids.frombytes(columns[0])
        self.sets.frombytes(columns[1])
        self.modseqs.frombytes(columns[2])
        self.saved.frombytes(columns[3])
        self.rows += columns[4]

    def below(self, uid_next: int) -> None:
        """Drop the messages that are expunged, and those from `uid_next` on."""
        living = bytes(
            number != DEAD and uid < uid_next
            for uid, number in zip(self.uids, self.sets, strict=True)
        )
        if 0 not in living:
            return
        width = _ROW.size
        view = memoryview(bytes(self.rows))
        self.rows = bytearray().join(
            view[at * width : (at + 1) * width] for at, lives in enumerate(living) if lives
        )
        self.uids = array("I", compress(self.uids, living))
        self.sets = array("I", compress(self.sets, living))
        self.modseqs = array("Q", compress(self.modseqs, living))
        self.saved = array("I", compress(self.saved, living))


class Columns:
    """The columns of one mailbox in this process, and what numbers Redis has for flag sets."""

    def __init__(self) -> None:
        self.index = MessageIndex(modseq=0)
        self.recent_from = 1
        self.stamp = b"0"
        """Of the change that made `index.modseq`: tells it from another of that number."""
        self.known_set = 0
        self._sets: dict[int, frozenset[Flag]] = {0: frozenset()}
        self.given: dict[int, str] = {}
        """By UID, the ids of messages whose email id does not tell them."""

    def learn_sets(self, texts: Sequence[Any]) -> None:
        for number, text in zip(texts[::2], texts[1::2], strict=True):
            self._sets[number] = frozenset(map(Flag.of, text.decode().split()))
            self.known_set = max(self.known_set, number)

    def message_id(self, at: int) -> str:
        """The id, in hexadecimal, of the message at a position."""
        return self.given.get(self.index.uids[at]) or self.index.email_ids[at][1:]

    # -- news --

    def take(self, news: Sequence[Any], email_ids: dict[bytes, bytes]) -> bool:
        """Follow what happened; False if the log did not reach back to what is known here."""
        index = self.index
        modseq, uid_next, recent_from = news[:3]
        self.recent_from = max(self.recent_from, recent_from)
        if modseq <= index.modseq:
            return True
        if len(news) < 8:
            return False
        entries, columns, texts = news[5:]
        self.learn_sets(texts)
        index.uid_next = max(index.uid_next, uid_next)
        added = Loaded()
        added.add(columns)
        added.below(DEAD)
        addition = self._addition(added, email_ids)
        start = at = 0
        for entry_id, fields in entries:
            step = int(entry_id.partition(b"-")[0])
            stamp, kind, value = fields[1], fields[4], fields[5]
            if kind == b"a":
                start, at = at, bisect_right(added.uids, unpack_uids(value).highest, at)
            if step <= index.modseq:
                continue
            self.stamp = stamp
            if kind == b"a":
                index.follow(step, _part(addition, start, at))
            elif kind == b"s":
                self._store(step, unpack_uids(value), fields[7].decode(), fields[9].decode())
            else:
                gone = unpack_uids(value)
                index.follow(step, vanished=gone)
                for uid in gone if self.given else ():
                    self.given.pop(uid, None)
        if added.uids:
            # They came with the flags and modseqs that they have now, and are the last ones.
            index.modseqs[-len(added.uids) :] = added.modseqs
        return True

    def _store(self, step: int, uids: UidSet, op: str, names: str) -> None:
        flags = frozenset(map(Flag.of, names.split()))
        assert step == self.index.modseq + 1, "each change takes one modseq and has its entry"
        self.index.store(uids, FlagOp(op), flags, None)
        if self.index.modseq < step:  # all of them came later, with the flags that they have now
            self.index.follow(step)

    @staticmethod
    def given_in(rows: bytes) -> list[bytes]:
        """The ids of messages whose email id is kept apart."""
        kinds = array("H", rows)[15::16]
        return [rows[at * 32 + 16 : at * 32 + 28] for at, kind in enumerate(kinds) if kind & GIVEN]

    def _addition(self, loaded: Loaded, email_ids: dict[bytes, bytes]) -> Addition:
        rows = bytes(loaded.rows)
        words = array("q", rows)
        sizes = array("Q", words[0::4].tobytes())
        dates = words[1::4]
        zones = array("h", rows)[14::16]
        ids: list[str] = []
        if rows:
            text = rows.hex()
            ids = ["M" + text[at + 32 : at + 56] for at in range(0, len(text), 64)]
        if email_ids:
            for at, kind in enumerate(array("H", rows)[15::16]):
                if kind & GIVEN:
                    given = email_ids.get(bytes.fromhex(ids[at][1:]))
                    if given is not None:
                        self.given[loaded.uids[at]] = ids[at][1:]
                        ids[at] = given.decode()
        numbers = {number: at for at, number in enumerate(sorted(set(loaded.sets)))}
        return Addition(
            loaded.uids,
            array("I", map(numbers.__getitem__, loaded.sets)),
            [self._sets[number] for number in numbers],
            sizes,
            dates,
            zones,
            array("q", loaded.saved),
            ids,
        )

    # -- all of it --

    def fill(
        self,
        loaded: Loaded,
        head: Sequence[Any],
        email_ids: dict[bytes, bytes],
    ) -> None:
        """Everything, as of the modseq of the first piece, `head`."""
        modseq, uid_next, recent_from, floor = head[:4]
        index = self.index
        loaded.below(uid_next)
        if modseq > index.modseq:
            self.stamp = head[9]
        self.recent_from = max(self.recent_from, recent_from)
        index.uid_next = max(index.uid_next, uid_next)
        if index.modseq == 0:
            index.follow(modseq, self._addition(loaded, email_ids))
            index.modseqs[:] = loaded.modseqs
            index.changed_log.floor = modseq
            gone = head[8]
            index.vanished_log.floor = floor
            for entry_id, value in zip(gone[::2], gone[1::2], strict=True):
                index.vanished_log.add(int(entry_id.partition(b"-")[0]), unpack_uids(value))
        elif modseq > index.modseq:
            self._compare(modseq, uid_next, loaded, email_ids)

    def _compare(
        self, modseq: int, uid_next: int, loaded: Loaded, email_ids: dict[bytes, bytes]
    ) -> None:
        """The log has forgotten how it came to this: find out by comparing."""
        index = self.index
        present = UidSet.from_sorted(loaded.uids)
        vanished = UidSet.from_sorted(index.uids) - present
        made = self._addition(loaded, email_ids)
        rows = [
            Row(
                uid,
                loaded.modseqs[at],
                made.sets[made.flags[at]],
                made.sizes[at],
                InternalDate(made.dates[at], made.zones[at]),
                made.saved[at],
                made.email_ids[at],
            )
            for at, uid in enumerate(loaded.uids)
            if loaded.modseqs[at] > index.modseq
        ]
        changed = UidSet.from_sorted([row.uid for row in rows])
        index.apply(Changes(modseq, changed, vanished), rows, uid_next)


def _part(addition: Addition, start: int, stop: int) -> Addition | None:
    if start == stop:
        return None
    a, part = addition, slice(start, stop)
    return Addition(
        a.uids[part], a.flags[part], a.sets, a.sizes[part], a.dates[part], a.zones[part],
        a.saved[part], a.email_ids[part],
    )  # fmt: skip
