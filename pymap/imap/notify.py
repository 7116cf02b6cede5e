"""NOTIFY: which news a client wants, of the selected mailbox and of others."""

from __future__ import annotations

from pymap.imap.fetch import check_offered
from pymap.imap.notified import Notified
from pymap.imap.session import Done, Session
from pymap.wire.commands import Event, FetchAttribute, Notify
from pymap.wire.errors import Refused

__all__ = ["notify"]

SUPPORTED = (
    Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE, Event.MAILBOX_NAME,
    Event.SUBSCRIPTION_CHANGE,
)  # fmt: skip

ANNOTATIONS = (Event.MAILBOX_METADATA_CHANGE, Event.SERVER_METADATA_CHANGE)


async def notify(session: Session, command: Notify) -> Done:
    """RFC 5465 3.1. What fails leaves the last NOTIFY in force."""
    # "support for this event type is REQUIRED" where METADATA is offered: RFC 5465 5.6, 5.7.
    annotations = session.backend.properties("server") is not None
    supported = (*SUPPORTED, *ANNOTATIONS) if annotations else SUPPORTED
    for group in command.groups:
        if group.unknown or not group.events <= set(supported):
            # NO, not BAD, and the names of all that are supported.
            names = " ".join(event.value for event in supported)
            raise Refused(f"BADEVENT ({names})", "There are other events only")
        check_offered(session, group.fetch)
    fresh = Notified(session, command.groups)
    try:
        await fresh.start(command.status)
        # A successful NOTIFY SET implies a NOOP: all that has come up is told, as before.
        if session.view is not None and command.groups:
            await session.tell(may_expunge=True, always=True)
    except BaseException:
        await fresh.close()
        raise
    if any(item.attribute is FetchAttribute.MODSEQ for item in fresh.selected.fetch):
        session.enable("CONDSTORE")  # RFC 7162 3.1: what is asked for tells that it is known
    old, session.notified = session.notified, fresh
    if old is not None:
        await old.close()
    return Done("NOTIFY completed")
