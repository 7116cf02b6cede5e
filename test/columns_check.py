"""What must always hold between the columns of a mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymap.backend.index import MessageIndex
from pymap.wire.types import DELETED, SEEN, UidSet


def check(index: MessageIndex) -> None:
    """What is kept twice agrees, and no column is shorter than another."""
    columns: list[Sequence[Any]] = [
        index.modseqs, index.flagsets, index.sizes, index.dates, index.zones, index.saved,
        index.email_ids,
    ]  # fmt: skip
    assert {len(column) for column in columns} == {len(index.uids)}
    assert list(index.uids) == sorted(set(index.uids))
    assert index.uid_next > (index.uids[-1] if index.uids else 0)
    assert max(index.modseqs, default=0) <= index.modseq
    rows = index.rows(UidSet(((1, 0xFFFFFFFF),)))
    assert [r.uid for r in rows] == list(index.uids)
    status = index.status(3)
    assert status == (
        len(rows),
        3,
        sum(SEEN not in r.flags for r in rows),
        sum(DELETED in r.flags for r in rows),
        sum(r.size for r in rows if DELETED in r.flags),
        sum(r.size for r in rows),
        index.uid_next,
        index.modseq,
    )
    assert [index.position(r.uid) for r in rows] == list(range(len(rows)))
    assert index.position(index.uid_next) is None
