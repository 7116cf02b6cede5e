"""The order of messages by SORT's criteria, column by column.   RFC 5256 3, RFC 5957"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymap.mime.summary import sent, text_reader
from pymap.wire.search import Criterion, SortKey

__all__ = ["column", "ranks", "sort"]


_TEXTS = {
    SortKey.CC: text_reader("cc"),
    SortKey.FROM: text_reader("from_"),
    SortKey.SUBJECT: text_reader("subject"),
    SortKey.TO: text_reader("to"),
    SortKey.DISPLAYFROM: text_reader("display_from"),
    SortKey.DISPLAYTO: text_reader("display_to"),
}


def column(
    key: SortKey, summaries: Iterable[bytes], received: Sequence[int], sizes: Sequence[int]
) -> Sequence[Any]:
    """What a key compares of each message: numbers or texts, the lower first. `summaries` are
    packed, `received` the internal dates in seconds since 1970, `sizes` in octets. (RELEVANCY is
    not of the message but of the search.)"""
    match key:
        case SortKey.ARRIVAL:
            return received
        case SortKey.SIZE:
            return sizes
        case SortKey.DATE:
            return [
                date if time is None else time
                for time, date in zip(map(sent, summaries), received, strict=True)
            ]
    return list(map(_TEXTS[key], summaries))


def sort(
    rows: Iterable[int], criteria: Iterable[Criterion], columns: Mapping[SortKey, Sequence[Any]]
) -> list[int]:
    """Put `rows`, which are places in the columns and ascend, in the order of the criteria.

    Messages that are equal in all of them stay in the order of the mailbox, also in REVERSE:
    Python's sort is stable, either way. So the criteria are applied from the last to the first,
    which needs no tuple per message. A key that comes again has nothing left to decide.
    """
    order = list(rows)
    for key, reverse in reversed(_decisive(criteria).items()):
        order.sort(key=columns[key].__getitem__, reverse=reverse)
    return order


def _decisive(criteria: Iterable[Criterion]) -> dict[SortKey, bool]:
    first: dict[SortKey, bool] = {}
    for key, reverse in criteria:
        first.setdefault(key, reverse)
    return first


def ranks(
    uids: Sequence[int],
    criteria: Iterable[Criterion],
    columns: Mapping[SortKey, Sequence[Any]],
) -> list[tuple[Any, ...]]:
    """The same order as one value for each message, which ends in its UID: for putting new messages
    among others. `uids` stand as in the columns."""
    values: list[Iterable[Any]] = [
        map(_Falling, columns[key]) if reverse else columns[key]
        for key, reverse in _decisive(criteria).items()
    ]
    return list(zip(*values, uids, strict=True))


class _Falling:
    """A value that compares the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Falling) and self.value == other.value

    def __lt__(self, other: _Falling) -> bool:
        return bool(other.value < self.value)

    def __hash__(self) -> int:
        return hash(self.value)
