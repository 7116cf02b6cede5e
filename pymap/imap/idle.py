"""IDLE: news is pushed until the client says DONE."""

from __future__ import annotations

from pymap.imap.session import Done, Session
from pymap.wire.commands import Idle
from pymap.wire.errors import BadCommand

__all__ = ["idle"]


async def idle(session: Session, command: Idle) -> Done:
    """RFC 2177; without a selected mailbox there is no news, which is fine. After NOTIFY it tells
    exactly what that has asked for (RFC 5465 4).

    However many changes come in, a client that is woken once pulls once and is written to once.
    """
    session.prompt("idling")
    view, peer = session.view, session.peer
    if view is not None:
        view.opened.listen(peer.wake)
    try:
        line = None
        while line is None:
            await session.push(may_expunge=True)
            line = await peer.line()
    finally:
        if view is not None:
            view.opened.unlisten(peer.wake)
    if line.upper() != b"DONE":
        raise BadCommand("Expected DONE")
    return Done("IDLE completed")
