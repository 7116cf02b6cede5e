"""Searches whose results are kept current for the client: RETURN (UPDATE).   RFC 5267 4.3

Rule 1: a context knows its results, so that what was expunged can be told, and asks its search
        again only about messages that are new or have changed. So an update costs what
        happened, not what is there.
Rule 2: REMOVEFROM comes before the EXPUNGE that causes it, ADDTO after the EXISTS: the sequence
        numbers in them are valid where they stand.
Rule 3: contexts have marks of their own for what they have seen: the client may have been told
        of a change elsewhere, as by the answer to its own STORE.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left, insort
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pymap.backend.errors import BackendError
from pymap.imap.fetch import check_offered, send_new
from pymap.imap.results import sequence
from pymap.imap.session import Done, Session, uid_required
from pymap.imap.view import MailboxView
from pymap.wire import responses as r
from pymap.wire import search as k
from pymap.wire.commands import CancelUpdate, FetchItem
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.search import Returns, SearchReturn
from pymap.wire.types import MAX_NUMBER, NO_UIDS, SequenceSet, UidSet

__all__ = [
    "Ascending",
    "Context",
    "Contexts",
    "Rank",
    "Sorted",
    "cancel_update",
    "check_update",
    "follow",
    "lasting",
    "updates",
]

log = logging.getLogger("pymap.session")

Rank = tuple[Any, ...]
"""What a result is ordered by; its last element is the message's UID."""

Places = list[tuple[int, list[int]]]
"""context-position and the UIDs there, in the order in which a client carries them out."""

FEW = 64  # changes made one by one: each moves the tail of an array


class Ascending:
    """The results of a SEARCH: UIDs, 4 octets each. Position 0 leaves it to the client where they
    stand.   RFC 5267 4.3.3"""

    __slots__ = ("uids",)

    def __init__(self, uids: Iterable[int]) -> None:
        self.uids = array("I", uids)

    def among(self, uids: UidSet) -> UidSet:
        """Those of `uids` that are results."""
        return uids.present_in(self.uids)

    def remove(self, uids: UidSet) -> Places:
        slices = uids.slices(self.uids)
        if len(slices) <= FEW:
            for start, stop in reversed(slices):
                del self.uids[start:stop]
        else:
            gone = set(uids)
            self.uids = array("I", [uid for uid in self.uids if uid not in gone])
        return [(0, list(uids))]

    def add(self, ranks: Sequence[Rank]) -> Places:
        uids = sorted(rank[-1] for rank in ranks)
        if not self.uids or self.uids[-1] < uids[0]:
            self.uids.extend(uids)
        elif len(uids) <= FEW:
            for uid in uids:
                insort(self.uids, uid)
        else:
            self.uids = array("I", sorted(chain(self.uids, uids)))
        return [(0, uids)]


class Sorted:
    """The results of a SORT: some 200 octets each."""

    __slots__ = ("by_uid", "ranks")

    def __init__(self, ranks: Iterable[Rank]) -> None:
        """`ranks` ascend."""
        self.ranks = list(ranks)
        self.by_uid = {rank[-1]: rank for rank in self.ranks}

    def among(self, uids: UidSet) -> UidSet:
        return UidSet.from_sorted([uid for uid in uids if uid in self.by_uid])

    def remove(self, uids: UidSet) -> Places:
        """From the end, so that no position moves another."""
        gone = sorted(bisect_left(self.ranks, self.by_uid.pop(uid)) for uid in uids)
        places = [
            (run[0] + 1, [self.ranks[at][-1] for at in run]) for run in reversed(list(_runs(gone)))
        ]
        if len(gone) <= FEW:
            for at in reversed(gone):
                del self.ranks[at]
        else:
            self.ranks = [rank for rank in self.ranks if rank[-1] in self.by_uid]
        return places

    def add(self, ranks: Sequence[Rank]) -> Places:
        """From the start: where each stands in the end is where it is to be put."""
        new = sorted(ranks)
        if len(new) <= FEW:
            for rank in new:
                insort(self.ranks, rank)
        else:
            self.ranks = sorted(chain(self.ranks, new))
        self.by_uid.update((rank[-1], rank) for rank in new)
        at = [bisect_left(self.ranks, rank) for rank in new]
        return [(run[0] + 1, [self.ranks[place][-1] for place in run]) for run in _runs(at)]


def _runs(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    """Ascending numbers, cut where one is missing."""
    start = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            yield numbers[start:at]
            start = at


@dataclass(slots=True)
class Context:
    """One search that goes on. `matching` says which of some messages are results now; `modseq`
    and `uid_next` are up to where the results are right."""

    tag: str
    by_uid: bool
    results: Ascending | Sorted
    matching: Callable[[UidSet], Awaitable[list[Rank]]]
    modseq: int
    uid_next: int
    fetch: tuple[FetchItem, ...] = ()
    """What is told of a new message that becomes a result.   RFC 5465 7"""
    mailbox: str | None = None
    """Told in its updates, if it was an ESEARCH that asked.   RFC 7377 2.1"""


class Contexts:
    """Those of one session and mailbox: they end with the view.   RFC 5267 4.3"""

    __slots__ = ("by_tag", "session", "view")

    def __init__(self, session: Session, view: MailboxView) -> None:
        self.session = session
        self.view = view
        self.by_tag: dict[str, Context] = {}

    @property
    def ranked(self) -> int:
        """The results that sorted ones hold."""
        results = [context.results for context in self.by_tag.values()]
        return sum(len(each.ranks) for each in results if isinstance(each, Sorted))

    async def remove_gone(self) -> None:
        """Tell of results that were expunged, whether or not the expunge itself may be told
        now. What goes while others have their turn is told as well: afterwards no result is
        gone, until the next await.   RFC 5267 4.3.4, A.3"""
        told = NO_UIDS
        while gone := self.view.uid_set(self.view.gone()) - told:
            for context in self.by_tag.values():
                if there := context.results.among(gone):
                    self._send(context, [("REMOVEFROM", context.results.remove(there))])
                await self.session.pause_after(len(gone.ranges))
            told |= gone

    async def update(self) -> None:
        """Tell of results that have come and gone since. A message that the client has not been
        told of waits. Raises BackendError, then what was not told is told the next time."""
        view, index = self.view, self.view.index
        for context in tuple(self.by_tag.values()):
            modseq, uid_next = index.modseq, view.uid_next
            if context.modseq == modseq and context.uid_next == uid_next:
                continue
            touched = index.changed_since(context.modseq) & _range(1, uid_next)
            touched |= _range(context.uid_next, uid_next)
            await self.session.pause_after(len(touched.ranges))
            matching = {rank[-1]: rank for rank in await context.matching(touched)}
            await self.session.pause_after(len(matching))
            now = UidSet.of(*matching)
            before = context.results.among(touched)
            await self.session.pause_after(len(touched.ranges))
            changes: list[tuple[str, Places]] = []
            if removed := before - now:
                changes.append(("REMOVEFROM", context.results.remove(removed)))
            if added := now - before:
                if context.fetch:
                    await self._send_new(context, added & _range(context.uid_next, uid_next))
                changes.append(("ADDTO", context.results.add([matching[uid] for uid in added])))
            context.modseq, context.uid_next = modseq, uid_next
            if changes:
                self._send(context, changes)

    async def _send_new(self, context: Context, uids: UidSet) -> None:
        """Before the ADDTO, and not of a message that was there before.   RFC 5465 7"""
        try:
            await send_new(self.session, self.view, context.fetch, uids)
        except (BackendError, Refused) as error:
            log.debug("%s: new results not fetched: %s", self.session.peer.name, error)

    def _send(self, context: Context, changes: Sequence[tuple[str, Places]]) -> None:
        session, uids, exists = self.session, self.view.uids, self.view.exists
        # One that began before ENABLE UIDONLY may not go on with numbers.   RFC 9586 3
        by_uid = context.by_uid or self.view.uid_only
        items = []
        for name, places in changes:
            words: list[str] = []
            for position, numbers in places:
                if not by_uid:
                    numbers = [bisect_left(uids, uid, 0, exists) + 1 for uid in numbers]
                words += (str(position), sequence(numbers))
            items.append((name, f"({' '.join(words)})"))
        mailbox = None if context.mailbox is None else session.shown(context.mailbox)
        uid_validity = self.view.mailbox.uid_validity
        session.send(r.ESearch(context.tag, by_uid, items, mailbox, uid_validity))


def _range(first: int, after: int) -> UidSet:
    return UidSet(((first, after - 1),)) if first < after else NO_UIDS


# -- how a search becomes one --


def updates(returns: Returns | None) -> bool:
    return returns is not None and SearchReturn.UPDATE in returns


def check_update(session: Session, tag: str, returns: Returns | None) -> None:
    """ "An attempt to use UPDATE where a tag is already in use" is BAD (RFC 5267 4.3), and so are
    data items for new messages that are not offered here."""
    contexts = session.selected().contexts
    if returns is None or SearchReturn.UPDATE not in returns:
        return
    if contexts is not None and tag in contexts.by_tag:
        raise BadCommand("Tag reuse")
    check_offered(session, returns.fetch)


def lasting(key: k.SearchKey, view: MailboxView) -> k.SearchKey:
    """The key with its numbers as they are meant now.

    Sequence numbers "are evaluated at the time the command is received" (RFC 5267 4.3), and so is
    $. Of UIDs, ``*`` at the end of a range goes on to mean the last message, as it would if the
    client asked again.
    """
    highest = view.uids[view.exists - 1] if view.exists else 0

    def range_of(first: int, last: int) -> tuple[int, int]:
        if first and last:
            return first, last
        start = first or last or highest
        return (min(start, highest or start), MAX_NUMBER) if first or last else (start, start)

    def leaf(key: k.SearchKey) -> k.SearchKey:
        if not isinstance(key, k.Numbers):
            return key
        numbers = key.numbers
        if view.uid_only and not key.by_uid and not numbers.saved:
            raise uid_required()
        if key.by_uid and not numbers.saved:
            ranges = [range_of(*pair) for pair in numbers.ranges]
            return k.Numbers(SequenceSet(tuple(pair for pair in ranges if pair[0])), by_uid=True)
        return k.Numbers(SequenceSet(view.searched(numbers, key.by_uid).ranges), by_uid=True)

    return k.rebuilt(key, leaf)


def follow(session: Session, view: MailboxView, context: Context) -> None:
    """Keep a search current from here on, or say that this is one too many.   RFC 5267 4.3.1"""
    contexts = view.contexts or Contexts(session, view)
    limits, results = session.limits, context.results
    full = len(contexts.by_tag) >= limits.contexts or (
        isinstance(results, Sorted)
        and contexts.ranked + len(results.ranks) > limits.context_results
    )
    if full:
        refuse(session, context.tag)
        return
    contexts.by_tag[context.tag] = context
    view.contexts = contexts


def refuse(session: Session, tag: str) -> None:
    code = f'NOUPDATE "{tag}"'
    session.send(r.Untagged(r.Condition.NO, "This search is not kept current", code))


async def cancel_update(session: Session, command: CancelUpdate) -> Done:
    """RFC 5267 4.3.5"""
    view = session.selected()
    known = view.contexts.by_tag if view.contexts is not None else {}
    if not known.keys() >= set(command.tags):
        raise BadCommand("No such tag")
    for tag in set(command.tags):
        del known[tag]
    if not known:
        view.contexts = None
    return Done("No further updates")
