"""What has become of the names of an account, as NOTIFY tells of it: RFC 5465 5.4, 5.5."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

from pymap.backend.api import DELIMITER, Listing
from pymap.wire.commands import Event

__all__ = ["NameChange", "name_changes"]


class NameChange(NamedTuple):
    """A name that is to be listed anew; `old_name` is what it was called before a rename."""

    name: str
    event: Event
    old_name: str | None = None


def name_changes(before: Listing, after: Listing, own: Set[str]) -> list[NameChange]:
    """What a client is told; nothing of what its own command has done to the names `own`."""
    lost = {(i.name, i.id) for i in before.mailboxes - after.mailboxes if i.id is not None}
    gained = {(i.name, i.id) for i in after.mailboxes - before.mailboxes if i.id is not None}
    # Another special use is no event.
    lost, gained = lost - gained, gained - lost
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
