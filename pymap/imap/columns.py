"""FETCH answers from columns: one format for a whole batch, no object per message.

A `Column` is one data item that the index knows without opening the message. `lines` zips
columns into FETCH responses at some 0.3 us a message and item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from pymap.backend.index import NO_SAVE_DATE
from pymap.imap import gmail
from pymap.imap.view import Batch, MailboxView
from pymap.wire.commands import FetchAttribute
from pymap.wire.types import InternalDate

__all__ = ["COLUMNS", "Column", "flag_lines", "lines", "pick"]


_Value = TypeVar("_Value")


class Column(NamedTuple):
    """`text` is a ``%`` format for one value, `values` gives one for each message of a batch."""

    text: bytes
    values: Callable[[MailboxView, Batch], Iterable[Any]]


def pick(column: Sequence[_Value], rows: Sequence[int]) -> Sequence[_Value]:
    """The values of some rows: a slice while view and index are in step."""
    if isinstance(rows, range):
        return column[rows.start : rows.stop]
    return [column[row] for row in rows]


def _flags(view: MailboxView, batch: Batch) -> Iterable[bytes]:
    table, recent, uids = view.index.flags, view.recent, batch.uids
    numbers = pick(view.index.flagsets, batch.rows)
    if not recent or uids[-1] < recent.lowest or uids[0] > recent.highest:
        return map(table.rendered.__getitem__, numbers)
    return [
        (table.rendered_recent if uid in recent else table.rendered)[number]
        for uid, number in zip(uids, numbers, strict=True)
    ]


def _dates(view: MailboxView, batch: Batch) -> Iterable[bytes]:
    dates, zones = pick(view.index.dates, batch.rows), pick(view.index.zones, batch.rows)
    return map(InternalDate.encode, map(InternalDate, dates, zones))


def _save_dates(view: MailboxView, batch: Batch) -> Iterable[bytes]:
    return (
        b"NIL" if date == NO_SAVE_DATE else InternalDate(date).encode()
        for date in pick(view.index.saved, batch.rows)
    )


def _labels(view: MailboxView, batch: Batch) -> Iterable[bytes]:
    sets, numbers = view.index.flags.sets, pick(view.index.flagsets, batch.rows)
    shown = {number: gmail.labels(sets[number]) for number in set(numbers)}
    return map(shown.__getitem__, numbers)


_A = FetchAttribute
COLUMNS: dict[FetchAttribute, Column] = {
    _A.UID: Column(b"UID %d", lambda view, batch: batch.uids),
    _A.FLAGS: Column(b"FLAGS (%b)", _flags),
    _A.INTERNALDATE: Column(b"INTERNALDATE %b", _dates),
    _A.SIZE: Column(b"RFC822.SIZE %d", lambda view, batch: pick(view.index.sizes, batch.rows)),
    _A.MODSEQ: Column(b"MODSEQ (%d)", lambda view, batch: pick(view.index.modseqs, batch.rows)),
    _A.EMAILID: Column(
        b"EMAILID (%b)",
        lambda view, batch: (id_.encode() for id_ in pick(view.index.email_ids, batch.rows)),
    ),
    # No threads are kept: RFC 8474 5.2 allows NIL.
    _A.THREADID: Column(b"THREADID %b", lambda view, batch: (b"NIL" for _ in batch.uids)),
    _A.SAVEDATE: Column(b"SAVEDATE %b", _save_dates),
    _A.X_GM_MSGID: Column(
        b"X-GM-MSGID %d",
        lambda view, batch: map(gmail.message_id, pick(view.index.email_ids, batch.rows)),
    ),
    _A.X_GM_LABELS: Column(b"X-GM-LABELS (%b)", _labels),
}


def lines(view: MailboxView, batch: Batch, columns: Sequence[Column], end: bytes) -> list[bytes]:
    """One FETCH response per message of the batch, each ended by `end`: ``)`` CRLF, or what
    another data item follows. After ENABLE UIDONLY they are UIDFETCH: RFC 9586 3.3."""
    head = b"* %d UIDFETCH (" if view.uid_only else b"* %d FETCH ("
    text = head + b" ".join(column.text for column in columns) + end
    positions = batch.positions
    numbers: Iterable[int]
    if view.uid_only:
        numbers = batch.uids
    elif isinstance(positions, range):
        numbers = range(positions.start + 1, positions.stop + 1)
    else:
        numbers = [position + 1 for position in positions]
    if not batch.uids:
        return []
    values = [column.values(view, batch) for column in columns]
    return list(map(text.__mod__, zip(numbers, *values, strict=True)))


def flag_lines(view: MailboxView, batch: Batch, uid: bool, modseq: bool) -> bytes:
    """FETCH responses that tell of new flags."""
    wanted = [_A.UID] if uid and not view.uid_only else []
    wanted.append(_A.FLAGS)
    if modseq:
        wanted.append(_A.MODSEQ)
    return b"".join(lines(view, batch, [COLUMNS[a] for a in wanted], b")\r\n"))
