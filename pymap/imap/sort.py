"""SORT and UID SORT.   RFC 5256, RFC 5267 3, RFC 5957"""

from __future__ import annotations

import asyncio

from pymap.imap.filters import with_filters
from pymap.imap.search import Evaluation, esearch_items, save, saving
from pymap.imap.session import Done, Session
from pymap.imap.sorting import column
from pymap.imap.sorting import sort as in_order
from pymap.wire import responses as r
from pymap.wire.commands import Sort
from pymap.wire.search import SearchReturn, SortKey

__all__ = ["sort"]

_KEPT = frozenset((SortKey.ARRIVAL, SortKey.SIZE))
"""Keys that are columns of the mailbox: no header is read."""

MANY = 10_000
"""Messages that are sorted in a thread of Python's: it takes 1 us for each and criterion."""


async def sort(session: Session, command: Sort) -> Done:
    """Messages that are equal by all criteria are in the order of the mailbox."""
    view = session.selected()
    command = await with_filters(session, command)
    await view.opened.sync()
    if command.uses_modseq:
        session.enable("CONDSTORE")
    evaluation = Evaluation(session, view)
    dates, sizes = evaluation.column(view.index.dates), evaluation.column(view.index.sizes)
    summaries = evaluation.summaries()
    with saving(view, command.returns):
        found = await evaluation.run(command.key, command.uses_modseq, whole=True)
        keys = dict.fromkeys(criterion.key for criterion in command.criteria)
        read = [] if _KEPT.issuperset(keys) else await summaries(found)

    def in_their_order() -> list[int]:
        received, octets = [dates[at] for at in found], [sizes[at] for at in found]
        columns = {key: column(key, read, received, octets) for key in keys}
        return [found[row] for row in in_order(range(len(found)), command.criteria, columns)]

    many = len(found) >= MANY
    ordered = await asyncio.to_thread(in_their_order) if many else in_their_order()
    numbers = evaluation.numbers(ordered, command.by_uid)
    modseqs = [evaluation.modseqs[at] for at in ordered] if command.uses_modseq else None
    returns = command.returns
    if returns is None:
        session.send(r.SortResponse(numbers, max(modseqs) if modseqs else None))
        return Done("SORT completed")
    save(view, evaluation.numbers(ordered, by_uid=True), returns)
    items = esearch_items(numbers, modseqs, returns)
    if returns != frozenset((SearchReturn.SAVE,)):
        session.send(r.ESearch(command.tag, command.by_uid, items))
    return Done("SORT completed")
