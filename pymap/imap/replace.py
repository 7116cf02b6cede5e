"""REPLACE and UID REPLACE: a new message for an old one."""

from __future__ import annotations

import logging

from pymap.backend.api import Mailbox
from pymap.backend.errors import BackendError, MessageExpunged, ReadOnly
from pymap.imap.append import add, prepare
from pymap.imap.guarded import bare, need
from pymap.imap.session import Done, Session
from pymap.imap.view import MailboxView
from pymap.wire import responses as r
from pymap.wire.commands import Replace
from pymap.wire.errors import Refused
from pymap.wire.types import UidSet

__all__ = ["replace"]

log = logging.getLogger("pymap.session")


async def replace(session: Session, command: Replace) -> Done:
    """The new message is durable before the old one goes: a crash in between shows both, never
    none. Flags and all else are the new one's own.   RFC 8508 3.4"""
    view = session.selected()
    if view.readonly:
        raise ReadOnly
    need(view.mailbox, "te")  # those of STORE, EXPUNGE and APPEND: RFC 8508 4.1
    await view.opened.sync()
    old = view.uid_set(view.resolve(command.number, command.by_uid))
    if not old:
        raise Refused("NONEXISTENT", "No such message")
    target, messages = await prepare(session, command.mailbox, (command.message,))
    await view.opened.sync()
    if not old.present_in(view.index.uids):
        raise MessageExpunged
    owner = await session.owner(command.mailbox)
    goes = view.index.sizes_of(old) if session.owns_selected(owner) else ()
    new = await add(session, owner, target, messages, goes)
    await _remove(view, old, target, new)
    # Before the EXPUNGE, which would else be told of a message without a successor.   RFC 8508 4.3
    appended = f"APPENDUID {target.uid_validity} {new}"
    session.send(r.Untagged(r.Condition.OK, "The new message", appended))
    await session.tell(may_expunge=True, always=True)
    # As after UID EXPUNGE: RFC 8508 4.5, RFC 7162 3.2.9.
    code = f"HIGHESTMODSEQ {view.index.modseq}" if session.condstore else None
    return Done("REPLACE completed", code)


async def _remove(view: MailboxView, old: UidSet, target: Mailbox, new: UidSet) -> None:
    """Expunge the old message. If that fails, or another session has done it meanwhile, which may
    have put another version in its place, nothing is replaced.   RFC 8508 3.4"""
    try:
        if not await view.mailbox.expunge(old):
            raise MessageExpunged
    except BackendError:
        try:
            await bare(target).expunge(new)  # whatever the rights: it has come with this command
        except BackendError as error:
            log.warning("a message that was to replace another one stays beside it: %s", error)
        raise
