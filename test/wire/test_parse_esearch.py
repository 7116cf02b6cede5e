"""Where an ESEARCH searches.   RFC 7377 4"""

from __future__ import annotations

import pytest

from pymap.wire import search as k
from pymap.wire.commands import ESearch, MailboxFilter, Sources
from pymap.wire.errors import Refused
from pymap.wire.search import Partial, Returns, SearchReturn
from pymap.wire.types import SEEN

from .feed import bad, command, refusal, shown

KEY = k.HasFlag(SEEN)
ALL = Returns(frozenset((SearchReturn.ALL,)))
SELECTED = (Sources(MailboxFilter.SELECTED),)

SOURCES: list[tuple[bytes, tuple[Sources, ...]]] = [
    (b"selected", SELECTED),
    (b"personal", (Sources(MailboxFilter.PERSONAL),)),
    (b"Inboxes SUBSCRIBED", (Sources(MailboxFilter.INBOXES), Sources(MailboxFilter.SUBSCRIBED))),
    (b"mailboxes inbox", (Sources(MailboxFilter.MAILBOXES, ("INBOX",)),)),
    (b'mailboxes "folder1" subtree "folder2"',
     (Sources(MailboxFilter.MAILBOXES, ("folder1",)), Sources(MailboxFilter.SUBTREE, ("folder2",)))),
    (b"subtree-one (a {1+}\r\nb) selected",
     (Sources(MailboxFilter.SUBTREE_ONE, ("a", "b")), Sources(MailboxFilter.SELECTED))),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "sources"), SOURCES, ids=[shown(row[0]) for row in SOURCES])
def test_sources(octets: bytes, sources: tuple[Sources, ...]) -> None:
    assert command(b"a ESEARCH IN (%b) SEEN\r\n" % octets) == ESearch("a", sources, KEY, ALL)
    returns = Returns(frozenset((SearchReturn.PARTIAL,)), Partial(1, 2))
    searched = command(b"a esearch in (%b) return (partial 1:2) charset UTF-8 SEEN\r\n" % octets)
    assert searched == ESearch("a", sources, KEY, returns, names_charset=True)


def test_without_sources_it_is_the_selected_mailbox() -> None:
    assert command(b"a ESEARCH SEEN\r\n") == ESearch("a", SELECTED, KEY, ALL)
    saved = Returns(frozenset((SearchReturn.SAVE,)))
    assert command(b"a ESEARCH RETURN (SAVE) SEEN\r\n") == ESearch("a", SELECTED, KEY, saved)
    assert command(b"a UID ESEARCH SEEN\r\n") == ESearch("a", SELECTED, KEY, ALL)  # 2


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"IN (personal)",
        b"IN () SEEN",
        b"IN personal SEEN",
        b"IN (selected-delayed) SEEN",  # RFC 7377 2.2
        b"IN (somewhere) SEEN",
        b"IN (mailboxes) SEEN",
        b"IN (mailboxes ()) SEEN",
        b"IN (personal inbox) SEEN",
        b"IN (personal  subscribed) SEEN",
        b"IN (personal (x y)) SEEN",  # there are no scope options
        b"IN (personal)SEEN",
        # SAVE is for the selected mailbox alone   RFC 7377 2.2
        b"IN (personal) RETURN (SAVE) SEEN",
        b"IN (selected personal) RETURN (SAVE) SEEN",
    ],
)
def test_bad(octets: bytes) -> None:
    bad(b"a ESEARCH %b\r\n" % octets)


def test_list_patterns_limit() -> None:
    few = b"a ESEARCH IN (mailboxes (a b) subtree c) SEEN\r\n"
    assert isinstance(command(few, list_patterns=3), ESearch)
    assert isinstance(refusal(few, list_patterns=2).error, Refused)
