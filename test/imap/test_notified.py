"""What NOTIFY asks for of a mailbox, and what becomes of names."""

from __future__ import annotations

import pytest

from pymap.backend.api import Listing, MailboxInfo
from pymap.imap.interests import Interests, Selected
from pymap.imap.name_changes import NameChange, name_changes
from pymap.wire.commands import Event, EventGroup, MailboxFilter

E, F = Event, MailboxFilter
MESSAGES = frozenset((E.MESSAGE_NEW, E.MESSAGE_EXPUNGE))
NAMES = frozenset((E.MAILBOX_NAME,))
NONE: frozenset[Event] = frozenset()


def test_the_events_of_all_groups_that_fit_add_up() -> None:
    interests = Interests(
        (
            EventGroup(F.PERSONAL, (), NAMES),
            EventGroup(F.SUBTREE, ("Lists", "Work/A"), MESSAGES),
            EventGroup(F.SUBSCRIBED, (), frozenset((E.SUBSCRIPTION_CHANGE,))),
            EventGroup(F.MAILBOXES, ("INBOX",), MESSAGES),
            EventGroup(F.MAILBOXES, ("INBOX", "Lists/Junk"), frozenset((E.FLAG_CHANGE,))),
        )
    )
    assert interests.of("Else", subscribed=False) == NAMES
    assert interests.of("Else", subscribed=True) == NAMES | {E.SUBSCRIPTION_CHANGE}
    assert interests.of("Lists", subscribed=False) == NAMES | MESSAGES
    assert interests.of("Lists/A/B", subscribed=False) == NAMES | MESSAGES
    assert interests.of("ListsNot", subscribed=False) == NAMES
    assert interests.of("Work", subscribed=False) == NAMES
    assert interests.of("INBOX", subscribed=False) == NAMES | MESSAGES | {E.FLAG_CHANGE}
    assert interests.of("Lists/Junk", subscribed=False) == NAMES | MESSAGES | {E.FLAG_CHANGE}
    assert interests


@pytest.mark.parametrize("backwards", [False, True])
def test_none_takes_a_mailbox_out(backwards: bool) -> None:
    groups = [
        EventGroup(F.PERSONAL, (), MESSAGES),
        EventGroup(F.MAILBOXES, ("Junk",), NONE),
        EventGroup(F.MAILBOXES, ("Junk",), NAMES),
        EventGroup(F.SUBTREE, ("Archive",), NONE),
    ]
    interests = Interests(reversed(groups) if backwards else groups)
    assert interests.of("Junk", subscribed=True) == NONE
    assert interests.of("Archive/2024", subscribed=True) == NONE
    assert interests.of("INBOX", subscribed=True) == MESSAGES


def test_the_selected_mailbox_has_a_group_of_its_own() -> None:
    assert Interests(()).selected == Selected()
    delayed = Interests((EventGroup(F.SELECTED_DELAYED, (), MESSAGES | {E.FLAG_CHANGE}),))
    assert delayed.selected == Selected(messages=True, flags=True, delayed=True)
    assert not delayed
    assert delayed.of("INBOX", subscribed=True) == NONE
    assert not Interests((EventGroup(F.PERSONAL, (), NONE),))


def listing(*names: str, subscriptions: str = "") -> Listing:
    """``name=id`` each."""
    infos = [name.partition("=") for name in names]
    boxes = frozenset(MailboxInfo(name, mailbox_id or None) for name, _, mailbox_id in infos)
    return Listing(boxes, frozenset(subscriptions.split()))


def told(before: Listing, after: Listing, *own: str) -> list[str]:
    return [
        f"{change.old_name} > {change.name}" if change.old_name else change.name
        for change in name_changes(before, after, frozenset(own))
    ]


def test_who_comes_and_goes_affects_the_level_above() -> None:
    assert told(listing("A=1"), listing("A=1", "A/B=2", "C=3")) == ["A", "A/B", "C"]
    assert told(listing("A/B=2"), listing()) == ["A", "A/B"]


def test_another_mailbox_of_the_same_name_is_told_once() -> None:
    assert told(listing("A=1"), listing("A=2")) == ["A"]


def test_levels_and_special_uses_are_no_events() -> None:
    assert told(listing(), listing("A")) == []
    used = Listing(frozenset((MailboxInfo("A", "1", ("\\Sent",)),)), frozenset())
    assert told(listing("A=1"), used) == []


def test_children_are_renamed_with_their_parent() -> None:
    before = listing("A=1", "A/x=2", "A/x/y=3", "A/z/z=4", "B=5")
    after = listing("C=1", "C/x=2", "C/x/y=3", "C/z/z=4", "B=5")
    assert told(before, after) == ["A > C"]


def test_children_of_a_mere_level_are_told_each() -> None:
    before, after = listing("A/x=2", "A/y=3", "A/y/z=4"), listing("B/x=2", "B/y=3", "B/y/z=4")
    assert told(before, after) == ["A/x > B/x", "A/y > B/y"]


def test_a_child_that_goes_elsewhere_is_told() -> None:
    before, after = listing("A=1", "A/x=2"), listing("B=1", "C=2")
    assert told(before, after) == ["A > B", "A/x > C"]


def test_a_name_that_is_taken_at_once() -> None:
    """INBOX renamed, or A renamed and made anew."""
    assert told(listing("A=1"), listing("A=2", "B=1")) == ["A", "A > B"]


def test_names_that_are_swapped() -> None:
    assert told(listing("A=1", "B=2"), listing("A=2", "B=1")) == ["B > A", "A > B"]


def test_what_is_ones_own_is_left_out() -> None:
    before = listing("A=1", "A/x=2", "L/y=3")
    assert told(before, listing("A=1", "A/x=2", "L/y=3", "A/n=4"), "A/n") == []
    assert told(before, listing("A=1", "A/x=2"), "L/y") == []
    renamed = listing("B=1", "B/x=2", "L/y=3")
    assert told(before, renamed, "A", "B") == []
    level = listing("A=1", "A/x=2", "M/y=3")
    assert told(before, level, "L", "M") == []
    # Others came in between.
    assert told(before, listing("A=1", "A/x=2", "A/n=4", "L/y=3", "O=5"), "A/n") == ["O"]
    assert told(before, renamed, "A/x") == ["A > B"]


def test_subscriptions() -> None:
    before, after = listing(subscriptions="A B"), listing(subscriptions="B C")
    assert name_changes(before, after, frozenset()) == [
        NameChange("A", E.SUBSCRIPTION_CHANGE),
        NameChange("C", E.SUBSCRIPTION_CHANGE),
    ]
    assert told(before, after, "C") == ["A"]
