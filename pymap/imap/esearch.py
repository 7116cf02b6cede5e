"""ESEARCH: one search over many mailboxes.   RFC 7377"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pymap.backend.api import DELIMITER, Mailbox
from pymap.backend.errors import BackendError, Unavailable
from pymap.imap.contexts import (
    Ascending,
    Context,
    check_update,
    follow,
    lasting,
    refuse,
    updates,
)
from pymap.imap.filters import with_filters
from pymap.imap.guarded import bare, need
from pymap.imap.message_limit import done_within
from pymap.imap.results import esearch_items, save, saving
from pymap.imap.search import Evaluation, matching_again
from pymap.imap.session import Done, Session
from pymap.imap.sharing import OTHERS
from pymap.imap.view import MailboxView
from pymap.wire import responses as r
from pymap.wire import search as k
from pymap.wire.commands import ESearch, MailboxFilter, Sources
from pymap.wire.errors import BadCommand
from pymap.wire.search import SearchReturn

__all__ = ["esearch"]


async def esearch(session: Session, command: ESearch) -> Done:
    """Mailboxes are searched one after the other, and each is let go before the next. One that
    cannot be read, or is deleted meanwhile, is as if it were not there: a client must not learn
    more of it (RFC 7377 5). What is found is told by UID, also of the selected mailbox (2.1)."""
    _check(session, command)
    with saving(session.view, command.returns):
        return await _esearch(session, command)


async def _esearch(session: Session, command: ESearch) -> Done:
    command = await with_filters(session, command)
    if command.uses_modseq:
        session.enable("CONDSTORE")
    several = any(each.filter is not MailboxFilter.SELECTED for each in command.sources)
    if several:
        session.progress.goal = None  # nobody has counted the messages
    followed, lowest = False, None
    seen: set[str] = set()
    for name in await _names(session, command.sources):
        selected = session.view
        try:
            if name is None:
                mailbox = session.selected().mailbox
            else:
                mailbox = await session.authenticated().open(name)
        except Unavailable:
            raise  # it may have what is looked for
        except BackendError:
            continue
        if mailbox.id in seen:
            continue
        seen.add(mailbox.id)
        if selected is not None and selected.mailbox.id == mailbox.id:
            await selected.opened.sync()
            shown = name or session.mailbox_name  # what others have renamed has the new name
            lowest = await _search(session, command, shown, selected) or lowest
            followed = True
            continue
        try:
            # No name for the view: it goes, with its columns, before the next one comes.
            found = await _search(
                session, command, name or "", await _view(session, command, mailbox)
            )
            lowest = found or lowest
        except Unavailable:
            raise  # it may have what is looked for
        except BackendError:
            continue
        await session.peer.breathe()
    if updates(command.returns) and not followed:
        refuse(session, command.tag)  # UPDATE is for the selected mailbox, which was not searched
    if lowest is None:
        return Done("ESEARCH completed")
    if several:
        return Done("Only the newest messages of some mailboxes", "LIMIT")  # RFC 7377 2.4
    return done_within(session, Done("ESEARCH completed"), lowest)


def _check(session: Session, command: ESearch) -> None:
    """What needs a selected mailbox is BAD without one.   RFC 7377 2.2"""
    view = session.view
    if command.names_charset and "UTF8=ACCEPT" in session.enabled:
        raise BadCommand("CHARSET after ENABLE UTF8=ACCEPT")  # RFC 6855 3
    if view is not None:
        check_update(session, command.tag, command.returns)
    elif updates(command.returns) or any(
        each.filter is MailboxFilter.SELECTED for each in command.sources
    ):
        raise BadCommand("No mailbox is selected")


async def _view(session: Session, command: ESearch, mailbox: Mailbox) -> MailboxView:
    """Of a mailbox that is not selected."""
    need(mailbox, "r")  # and what is listed has `l`: RFC 7377 2.2
    opened = session.open_mailboxes.get(bare(mailbox))
    await opened.sync()
    view = MailboxView(opened, readonly=True, uid_only=session.uid_only, mailbox=mailbox)
    if any(isinstance(key, k.Recent) for key in k.leaves(command.key)):
        view.recent = await mailbox.claim_recent(peek=True)
    return view


async def _search(session: Session, command: ESearch, name: str, view: MailboxView) -> int | None:
    """Search one mailbox; returns the lowest UID that was looked at, if that was not all."""
    returns, tag = command.returns, command.tag
    follows = view is session.view and updates(returns)
    evaluation = Evaluation(session, view)
    marks = view.index.modseq, view.uid_next
    key = lasting(command.key, view) if follows else command.key
    at = await evaluation.run(key, command.uses_modseq)
    found = evaluation.found(at, True, returns)
    save(view, found, returns)
    # Nothing is told of a mailbox where nothing was found.   RFC 7377 2.1
    if found.uids and returns.options != {SearchReturn.SAVE}:
        items = esearch_items(found, returns)
        shown, uid_validity = session.shown(name), view.mailbox.uid_validity
        session.send(r.ESearch(tag, True, items, shown, uid_validity))
    if follows:
        results, matching = Ascending(found.uids), matching_again(session, view, key)
        follow(session, view, Context(tag, True, results, matching, *marks, returns.fetch, name))
    return evaluation.lowest


# -- which mailboxes --


async def _names(session: Session, sources: Iterable[Sources]) -> list[str | None]:
    """The mailboxes that are meant, each name once; None is the selected one, which others may have
    renamed. A hierarchy of names has no loops that would have to be looked for."""
    account = session.authenticated()
    found: dict[str | None, None] = {}
    for each in sources:
        match each.filter:
            case MailboxFilter.SELECTED:
                found[None] = None
            case MailboxFilter.MAILBOXES:
                found.update(dict.fromkeys(each.names))
            case MailboxFilter.SUBSCRIBED:
                found.update(dict.fromkeys(sorted(await account.subscriptions())))
            case _:
                infos = await account.mailboxes()
                names = sorted(info.name for info in infos if info.id is not None)
                found.update(dict.fromkeys(filter(_filter(each), names)))
    return list(found)


def _filter(sources: Sources) -> Callable[[str], bool]:
    roots = frozenset(sources.names)
    match sources.filter:
        case MailboxFilter.SUBTREE:
            return lambda name: not roots.isdisjoint(_above(name))
        case MailboxFilter.SUBTREE_ONE:
            return lambda name: name in roots or name.rpartition(DELIMITER)[0] in roots
    # Mail may be delivered to any of them: INBOXES is PERSONAL.   RFC 5465 6.3
    return lambda name: not name.startswith(OTHERS)


def _above(name: str) -> Iterable[str]:
    """The name itself, and its superiors."""
    while name:
        yield name
        name = name.rpartition(DELIMITER)[0]
