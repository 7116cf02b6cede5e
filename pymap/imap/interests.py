"""What a client wants to be told of: the groups of NOTIFY, made ready to be asked about a name.

Rule 1: the events of all groups that fit a mailbox add up (RFC 5465 6), but a group with NONE takes
        the mailbox out, whatever the others say: its client "does not wish to receive any events
        for the specified mailboxes" (8).
Rule 2: the selected mailbox has a group of its own, or none and with it no events of
        messages (3.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pymap.imap.list import superiors
from pymap.imap.sharing import OTHERS
from pymap.wire.commands import Event, EventGroup, FetchItem, MailboxFilter

__all__ = ["Interests", "Selected"]

_F = MailboxFilter
Events = frozenset[Event]


class Selected(NamedTuple):
    """What is told of the selected mailbox: new and expunged `messages`, changes of `flags`.
    `delayed` holds back expunges until a command allows them; `fetch` is sent of new messages."""

    messages: bool = False
    flags: bool = False
    delayed: bool = False
    fetch: tuple[FetchItem, ...] = ()


class Interests:
    __slots__ = ("_all", "_named", "_subscribed", "_subtrees", "selected")

    def __init__(self, groups: Iterable[EventGroup]) -> None:
        self.selected = Selected()
        self._all: Events | None = None
        self._subscribed: Events | None = None
        self._named: dict[str, Events] = {}
        self._subtrees: dict[str, Events] = {}
        for group in groups:
            match group.filter:
                case _F.SELECTED | _F.SELECTED_DELAYED:
                    self.selected = Selected(
                        Event.MESSAGE_NEW in group.events,
                        Event.FLAG_CHANGE in group.events,
                        group.filter is _F.SELECTED_DELAYED,
                        group.fetch,
                    )
                case _F.PERSONAL | _F.INBOXES:
                    # Rules of delivery may name any mailbox, so that "inboxes" is "personal":
                    # RFC 5465 6.3.
                    self._all = _both(self._all, group.events)
                case _F.SUBSCRIBED:
                    self._subscribed = _both(self._subscribed, group.events)
                case _F.MAILBOXES:
                    for name in group.mailboxes:
                        self._named[name] = _both(self._named.get(name), group.events)
                case _F.SUBTREE:
                    for name in group.mailboxes:
                        self._subtrees[name] = _both(self._subtrees.get(name), group.events)

    def __bool__(self) -> bool:
        """Whether there is anything to tell of other mailboxes than the selected one."""
        return any(self._groups())

    def any(self, event: Event) -> bool:
        """Whether that event is asked for, of whatever mailbox."""
        return any(event in events for events in self._groups() if events)

    def _groups(self) -> tuple[Events | None, ...]:
        return self._all, self._subscribed, *self._named.values(), *self._subtrees.values()

    def of(self, name: str, subscribed: bool) -> Events:
        """The events of a mailbox, existing or not. The cost is in the levels of its name."""
        personal = None if name.startswith(OTHERS) else self._all
        found = [personal, self._named.get(name)]
        if subscribed:
            found.append(self._subscribed)
        if self._subtrees:
            found += map(self._subtrees.get, (name, *superiors(name)))
        known = [events for events in found if events is not None]
        return frozenset[Event]().union(*known) if all(known) else frozenset()


def _both(known: Events | None, more: Events) -> Events:
    return more if known is None else known | more if known and more else frozenset()
