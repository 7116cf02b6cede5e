"""NOTIFY: which events, of which mailboxes.   RFC 5465 8"""

from __future__ import annotations

from pymap.limits import Limits
from pymap.wire.commands import Event, EventGroup, FetchItem, MailboxFilter, Notify
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.parse_fetch import fetch_items
from pymap.wire.scanner import Scanner

__all__ = ["notify"]

_F = MailboxFilter
_SELECTED = (_F.SELECTED, _F.SELECTED_DELAYED)
_NAMED = (_F.SUBTREE, _F.MAILBOXES)
_MESSAGE_EVENTS = {
    Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE, Event.ANNOTATION_CHANGE,
}  # fmt: skip
_EVENTS = {event.value.upper(): event for event in Event}
MOST_EVENTS = 100  # named in one group


def notify(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Notify:
    """notify = "NOTIFY" SP ("SET" [SP "STATUS"] SP event-groups / "NONE")
    event-groups = event-group *(SP event-group)"""
    s.sp()
    word = s.keyword()
    if word == "NONE":
        return Notify(tag)
    if word != "SET":
        raise BadCommand("Expected SET or NONE")
    s.sp()
    status = not s.at(b"(")
    if status:
        if s.keyword() != "STATUS":
            raise BadCommand("Expected STATUS or a group of events")
        s.sp()
    groups = [_group(s, limits)]
    named = len(groups[0].mailboxes)
    while s.accept(b" "):
        groups.append(_group(s, limits))
        named += 1 + len(groups[-1].mailboxes)
        if named > limits.notify_mailboxes:
            raise Refused("NOTIFICATIONOVERFLOW", "Too many mailboxes are named")
    # Only one of these can be specified.   RFC 5465 6.1
    if sum(group.filter in _SELECTED for group in groups) > 1:
        raise BadCommand("The selected mailbox has two groups of events")
    return Notify(tag, tuple(groups), status)


def _group(s: Scanner, limits: Limits) -> EventGroup:
    """event-group = "(" filter-mailboxes SP events ")" """
    s.expect(b"(")
    name = s.keyword()
    try:
        chosen = MailboxFilter(name)
    except ValueError:
        raise BadCommand("Unknown mailbox filter") from None
    if chosen is MailboxFilter.SUBTREE_ONE:
        raise BadCommand("SUBTREE-ONE is for ESEARCH")
    mailboxes: tuple[str, ...] = ()
    if chosen in _NAMED:
        s.sp()
        mailboxes = _mailboxes(s, limits)
    s.sp()
    group = _events(s, chosen, mailboxes, limits)
    s.expect(b")")
    return group


def _mailboxes(s: Scanner, limits: Limits) -> tuple[str, ...]:
    """one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")" """
    if not s.accept(b"("):
        return (s.mailbox(),)
    names = [s.mailbox()]
    while s.accept(b" "):
        names.append(s.mailbox())
        if len(names) > limits.notify_mailboxes:
            raise Refused("NOTIFICATIONOVERFLOW", "Too many mailboxes are named")
    s.expect(b")")
    return tuple(names)


def _events(
    s: Scanner, chosen: MailboxFilter, mailboxes: tuple[str, ...], limits: Limits
) -> EventGroup:
    """events = "(" event *(SP event) ")" / "NONE"

    message-event =/ "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"]
    """
    if not s.accept(b"("):
        if s.keyword() != "NONE":
            raise BadCommand("Expected a list of events or NONE")
        return EventGroup(chosen, mailboxes)
    events: set[Event] = set()
    unknown: list[str] = []
    fetch: tuple[FetchItem, ...] = ()
    while True:
        name = s.keyword()
        event = _EVENTS.get(name)
        if event is None:
            unknown.append(name)  # event-ext: NO, not BAD
        else:
            events.add(event)
        if len(events) + len(unknown) > MOST_EVENTS:
            raise BadCommand("Too many events")
        if s.accept(b")"):
            break
        s.sp()
        if event is Event.MESSAGE_NEW and s.at(b"("):
            fetch = fetch_items(s, limits)
            # They may only be present for the selected mailbox.   RFC 5465 8
            if chosen not in _SELECTED:
                raise BadCommand("Only the selected mailbox has messages to fetch")
            if s.accept(b")"):
                break
            s.sp()
    _check(chosen, events)
    return EventGroup(chosen, mailboxes, frozenset(events), tuple(unknown), fetch)


def _check(chosen: MailboxFilter, events: set[Event]) -> None:
    # It is an error to specify other types of events for the selected mailbox.   RFC 5465 6.1
    if chosen in _SELECTED and not events <= _MESSAGE_EVENTS:
        raise BadCommand("Only messages of the selected mailbox have events")
    # Both or none, and with flags or annotations both.   RFC 5465 5
    if events & _MESSAGE_EVENTS and not {Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE} <= events:
        raise BadCommand("MessageNew and MessageExpunge must be asked for together")
