"""SORT and UID SORT.   RFC 5256, RFC 5267 3, RFC 5957, RFC 6203 6"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pymap.imap.contexts import (
    Context,
    Rank,
    Sorted,
    check_update,
    follow,
    lasting,
    refuse,
    updates,
)
from pymap.imap.filters import with_filters
from pymap.imap.results import esearch_items, save, saving
from pymap.imap.search import Candidates, Evaluation
from pymap.imap.session import Done, Session
from pymap.imap.sorting import column, ranks
from pymap.imap.sorting import sort as in_order
from pymap.imap.view import MailboxView
from pymap.wire import responses as r
from pymap.wire.commands import Sort
from pymap.wire.search import Criterion, SearchKey, SearchReturn, SortKey
from pymap.wire.types import UidSet

__all__ = ["sort"]

_UNREAD = frozenset((SortKey.ARRIVAL, SortKey.SIZE, SortKey.RELEVANCY))
"""Keys for which no header is read: columns of the mailbox, and what the search has found out."""

MANY = 10_000
"""Messages that are sorted in a thread of Python's: it takes 1 us for each and criterion."""


class _Columns:
    """What the criteria compare; made before anything is awaited."""

    def __init__(self, evaluation: Evaluation, criteria: Sequence[Criterion]) -> None:
        index = evaluation.view.index
        self.evaluation = evaluation
        self.keys = dict.fromkeys(criterion.key for criterion in criteria)
        self.dates, self.sizes = evaluation.column(index.dates), evaluation.column(index.sizes)
        self.summaries = None if _UNREAD.issuperset(self.keys) else evaluation.summaries()

    async def of(self, found: Candidates) -> Mapping[SortKey, Sequence[Any]]:
        """One value for each message in each column."""
        read = [] if self.summaries is None else await self.summaries(found)

        def columns() -> dict[SortKey, Sequence[Any]]:
            received = [self.dates[at] for at in found]
            octets = [self.sizes[at] for at in found]
            made: dict[SortKey, Sequence[Any]] = {}
            for key in self.keys:
                if key is SortKey.RELEVANCY:
                    # The highest comes first.   RFC 6203 6
                    made[key] = [-score for score in self.evaluation.relevance(found)]
                else:
                    made[key] = column(key, read, received, octets)
            return made

        return await asyncio.to_thread(columns) if len(found) >= MANY else columns()


async def sort(session: Session, command: Sort) -> Done:
    """Messages that are equal by all criteria are in the order of the mailbox."""
    view, returns, criteria = session.selected(), command.returns, command.criteria
    check_update(session, command.tag, returns)
    with saving(view, returns):
        command = await with_filters(session, command)
        await view.opened.sync()
        if command.uses_modseq:
            session.enable("CONDSTORE")
        evaluation = Evaluation(session, view)
        columns = _Columns(evaluation, criteria)
        marks = view.index.modseq, view.uid_next
        key = lasting(command.key, view) if updates(returns) else command.key
        at = await evaluation.run(key, command.uses_modseq, whole=True)
        values = await columns.of(at)
    rows = range(len(at))
    many = len(at) >= MANY
    order = (
        await asyncio.to_thread(in_order, rows, criteria, values)
        if many
        else in_order(rows, criteria, values)
    )
    found = evaluation.found([at[row] for row in order], command.by_uid, returns)
    if returns is None:
        session.send(r.SortResponse(found.numbers, max(found.modseqs) if found.modseqs else None))
        return Done("SORT completed")
    save(view, found, returns)
    if returns.options != {SearchReturn.SAVE}:  # else nothing was asked to be told: RFC 5182 2.1
        items = esearch_items(found, returns)
        session.send(r.ESearch(command.tag, command.by_uid, items))
    if updates(returns):
        if SortKey.RELEVANCY in values or len(at) > session.limits.context_results:
            refuse(session, command.tag)  # scores may be of the search, not of the message
        else:
            uids = evaluation.numbers(at, by_uid=True)

            def in_their_order() -> Sorted:
                made = ranks(uids, criteria, values)
                return Sorted([made[row] for row in order])

            results = await asyncio.to_thread(in_their_order) if many else in_their_order()
            matching = _Matching(session, view, key, criteria)
            context = Context(command.tag, command.by_uid, results, matching, *marks, returns.fetch)
            follow(session, view, context)
    return Done("SORT completed")


class _Matching:
    """Which of some messages match now, and where they belong."""

    def __init__(
        self, session: Session, view: MailboxView, key: SearchKey, criteria: Sequence[Criterion]
    ) -> None:
        self.session, self.view, self.key, self.criteria = session, view, key, criteria

    async def __call__(self, uids: UidSet) -> list[Rank]:
        evaluation = Evaluation(self.session, self.view, uids)
        columns = _Columns(evaluation, self.criteria)
        found = await evaluation.run(self.key, with_modseqs=False)
        values = await columns.of(found)
        return ranks(evaluation.numbers(found, by_uid=True), self.criteria, values)
