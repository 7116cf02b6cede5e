"""The order of messages by SORT's criteria, column by column.   RFC 5256 3, RFC 5957"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from pymap.mime.summary import Summary
from pymap.wire.search import Criterion, SortKey

__all__ = ["column", "sort"]


_TEXTS = {
    SortKey.CC: attrgetter("cc"),
    SortKey.FROM: attrgetter("from_"),
    SortKey.SUBJECT: attrgetter("subject"),
    SortKey.TO: attrgetter("to"),
    SortKey.DISPLAYFROM: attrgetter("display_from"),
    SortKey.DISPLAYTO: attrgetter("display_to"),
}


def column(
    key: SortKey, summaries: Iterable[Summary], received: Sequence[int], sizes: Sequence[int]
) -> Sequence[Any]:
    """What a key compares of each message: numbers or texts, the lower first. `received` are the
    internal dates in seconds since 1970, `sizes` in octets."""
    match key:
        case SortKey.ARRIVAL:
            return received
        case SortKey.SIZE:
            return sizes
        case SortKey.DATE:
            sent = (summary.sent for summary in summaries)
            return [
                date if time is None else time for time, date in zip(sent, received, strict=True)
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
    first: dict[SortKey, bool] = {}
    for key, reverse in criteria:
        first.setdefault(key, reverse)
    for key, reverse in reversed(first.items()):
        order.sort(key=columns[key].__getitem__, reverse=reverse)
    return order
