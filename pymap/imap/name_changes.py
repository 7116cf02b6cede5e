"""What has become of the names of an account, as NOTIFY tells of it: RFC 5465 5.4, 5.5."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import lru_cache
from typing import NamedTuple

from pymap.backend.api import DELIMITER, Listing
from pymap.wire.commands import Event

__all__ = ["Difference", "NameChange", "difference", "name_changes"]


class NameChange(NamedTuple):
    """A name that is to be listed anew; `old_name` is what it was called before a rename."""

    name: str
    event: Event
    old_name: str | None = None


class Difference(NamedTuple):
    """Mailboxes, by name and id, that are there no more and that have come; and all names of which
    a listing says something else."""

    lost: frozenset[tuple[str, str]]
    gained: frozenset[tuple[str, str]]
    names: frozenset[str]


@lru_cache(maxsize=4)  # all sessions of a user go the same step, at about the same time
def difference(before: Listing, after: Listing) -> Difference:
    gone, come = before.mailboxes - after.mailboxes, after.mailboxes - before.mailboxes
    lost = frozenset((i.name, i.id) for i in gone if i.id is not None)
    gained = frozenset((i.name, i.id) for i in come if i.id is not None)
    names = {i.name for i in gone | come} | (before.subscriptions ^ after.subscriptions)
    # Another special use is no event.
    return Difference(lost - gained, gained - lost, frozenset(names))


def name_changes(before: Listing, after: Listing, own: Set[str]) -> list[NameChange]:
    """What a client is told; nothing of what its own command has done to the names `own`."""
    lost, gained, _ = difference(before, after)
    by_id = {mailbox_id: name for name, mailbox_id in lost}
    renamed = {name: by_id[mailbox_id] for name, mailbox_id in gained if mailbox_id in by_id}
    old_names = set(renamed.values())
    deleted = {name for name, _ in lost} - old_names - own
    created = {name for name, _ in gained} - renamed.keys() - own
    # A mailbox that comes or goes affects the level above as well: it may have its first child, or
    # no more.   RFC 5465 5.4
    affected = deleted | created
    affected |= {above for name in affected if (above := name.rpartition(DELIMITER)[0])}
    changes = [NameChange(name, Event.MAILBOX_NAME) for name in sorted(affected - renamed.keys())]
    for name, old_name in sorted(renamed.items()):
        levels = list(_levels(old_name, name))
        # Children that are renamed with their parent are not told of.   RFC 5465 5.4
        with_parent = any(renamed.get(new) == old for old, new in levels[1:])
        if not with_parent and not any(old in own and new in own for old, new in levels):
            changes.append(NameChange(name, Event.MAILBOX_NAME, old_name))
    subscriptions = (before.subscriptions ^ after.subscriptions) - own
    changes += [NameChange(name, Event.SUBSCRIPTION_CHANGE) for name in sorted(subscriptions)]
    return changes


def _levels(old: str, new: str) -> Iterator[tuple[str, str]]:
    """The renames that explain a rename: that of the name itself, then those of levels above."""
    yield old, new
    while True:
        above_old, _, last_old = old.rpartition(DELIMITER)
        above_new, _, last_new = new.rpartition(DELIMITER)
        if not above_old or not above_new or last_old != last_new:
            return
        old, new = above_old, above_new
        yield old, new
