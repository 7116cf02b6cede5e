"""ESEARCH: where to search, and then what SEARCH has.   RFC 7377"""

from __future__ import annotations

from pymap.limits import Limits
from pymap.wire.commands import ESearch, MailboxFilter, Sources
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.parse_search import search
from pymap.wire.scanner import Scanner
from pymap.wire.search import Returns, SearchReturn

__all__ = ["esearch", "sources"]

_NAMED = (MailboxFilter.SUBTREE, MailboxFilter.SUBTREE_ONE, MailboxFilter.MAILBOXES)
_ALL = Returns(frozenset((SearchReturn.ALL,)))


def esearch(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> ESearch:
    """esearch = "ESEARCH" [SP "IN" SP "(" source-mbox [SP "(" scope-options ")"] ")"]
    [SP search-return-opts] SP search-program

    No scope option is defined.   RFC 7377 4
    """
    found: tuple[Sources, ...] = (Sources(MailboxFilter.SELECTED),)
    if s.text[s.pos : s.pos + 4].upper() == b" IN ":
        s.pos += 4
        s.expect(b"(")
        found = sources(s, limits)
        s.expect(b")")
    asked = search(s, tag, True, limits)
    returns = asked.returns or _ALL  # RFC 7377 2.1
    selected_alone = all(each.filter is MailboxFilter.SELECTED for each in found)
    if SearchReturn.SAVE in returns and not selected_alone:
        raise BadCommand("SAVE is for the selected mailbox alone")  # RFC 7377 2.2
    return ESearch(tag, found, asked.key, returns, asked.uses_modseq, asked.names_charset)


def sources(s: Scanner, limits: Limits) -> tuple[Sources, ...]:
    """source-mbox = filter-mailboxes *(SP filter-mailboxes)
    filter-mailboxes = "selected" / "inboxes" / "personal" / "subscribed" /
    ("subtree" / "subtree-one" / "mailboxes") SP (mailbox / "(" mailbox *(SP mailbox) ")")

    RFC 5465 8, RFC 7377 4
    """
    found: list[Sources] = []
    names = 0
    while not found or s.accept(b" "):
        try:
            source = MailboxFilter(s.keyword())
        except ValueError:
            raise BadCommand("Unknown source of mailboxes") from None
        if source is MailboxFilter.SELECTED_DELAYED:
            raise BadCommand("SELECTED-DELAYED is for NOTIFY")  # RFC 7377 2.2
        named: tuple[str, ...] = ()
        if source in _NAMED:
            s.sp()
            named = _mailboxes(s)
        found.append(Sources(source, named))
        names += max(len(named), 1)
        if names > limits.list_patterns:
            raise Refused("LIMIT", "Too many mailboxes are named")
    return tuple(found)


def _mailboxes(s: Scanner) -> tuple[str, ...]:
    """one-or-more-mailbox   RFC 5465 8"""
    if not s.accept(b"("):
        return (s.mailbox(),)
    names = [s.mailbox()]
    while s.accept(b" "):
        names.append(s.mailbox())
    s.expect(b")")
    return tuple(names)
