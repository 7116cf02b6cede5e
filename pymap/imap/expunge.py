"""EXPUNGE, UID EXPUNGE, CLOSE, UNSELECT."""

from __future__ import annotations

from pymap.backend.errors import ReadOnly
from pymap.imap.guarded import need
from pymap.imap.message_limit import done_within, newest_uids
from pymap.imap.session import Done, Session
from pymap.wire.commands import Close, Expunge, Unselect
from pymap.wire.types import DELETED

__all__ = ["close", "expunge", "unselect"]


async def expunge(session: Session, command: Expunge) -> Done:
    """RFC 9051 6.4.3; by UID RFC 4315 2.1; the tagged HIGHESTMODSEQ RFC 7162 3.2.7"""
    view = session.selected()
    if view.readonly:
        raise ReadOnly
    need(view.mailbox, "e")
    await view.opened.sync()
    doomed, lowest = view.index.flagged(DELETED), None
    if command.uids is not None:
        # Plain EXPUNGE means all, as ever.   RFC 9738 3.1
        doomed &= view.uid_set(view.resolve(command.uids, by_uid=True))
        doomed, lowest = newest_uids(session, doomed)
    if doomed:
        await view.mailbox.expunge(doomed, only=DELETED)
    await session.tell(may_expunge=True, always=True)
    code = f"HIGHESTMODSEQ {view.index.modseq}" if session.condstore and doomed else None
    return done_within(session, Done("EXPUNGE completed", code), lowest)


async def close(session: Session, command: Close) -> Done:
    """Expunges without telling, unless the mailbox was opened read-only: neither the messages nor
    the new HIGHESTMODSEQ. Who may not expunge closes all the same.

    RFC 9051 6.4.1, RFC 7162 3.2.8, RFC 4314 4
    """
    view = session.selected()
    if not view.readonly and "e" in view.mailbox.rights:
        await view.opened.sync()
        doomed = view.index.flagged(DELETED)
        if doomed:
            await view.mailbox.expunge(doomed, only=DELETED)
    session.deselect()
    return Done("CLOSE completed")


async def unselect(session: Session, command: Unselect) -> Done:
    """RFC 3691"""
    session.deselect()
    return Done("UNSELECT completed")
