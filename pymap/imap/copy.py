"""COPY and MOVE, with their UID forms."""

from __future__ import annotations

from pymap.backend.api import Copied
from pymap.backend.errors import MessageExpunged, ReadOnly
from pymap.imap import guarded
from pymap.imap.mailboxes import open_target
from pymap.imap.message_limit import check_saved, done_within, newest
from pymap.imap.session import Done, Session
from pymap.wire import responses as r
from pymap.wire.commands import Copy, Move

__all__ = ["copy", "move"]


def _copyuid(copied: Copied) -> str | None:
    """COPYUID, if anything was copied.   RFC 4315 3"""
    if not copied.source:
        return None
    return f"COPYUID {copied.uid_validity} {copied.source} {copied.target}"


async def copy(session: Session, command: Copy) -> Done:
    """RFC 9051 6.4.7. If some of the messages are gone, nothing is copied: RFC 2180 4.4.1."""
    view = session.selected()
    await view.opened.sync()
    uids = view.uid_set(view.resolve(command.numbers, command.by_uid))
    target = await open_target(session, command.mailbox)
    await session.pause_after(len(uids.ranges))
    present = uids.present_in(view.index.uids)
    if present != uids and not command.by_uid:
        raise MessageExpunged
    check_saved(session, len(present))
    owner = await session.owner(command.mailbox)
    await session.quotas.check(owner, view.index.sizes_of(present))
    await session.pause_after(len(present.ranges))
    copied = await guarded.copy(view.mailbox, present, target)
    session.brought(target, copied.target)
    await session.pause_after(len(present.ranges))
    return Done("COPY completed", _copyuid(copied))


async def move(session: Session, command: Move) -> Done:
    """RFC 6851 3.3, 4.3: COPYUID comes in an untagged OK, before the EXPUNGE responses."""
    view = session.selected()
    if view.readonly:
        raise ReadOnly
    guarded.need(view.mailbox, "te")  # also when there is nothing to move
    await view.opened.sync()
    slices, lowest = newest(session, view, view.resolve(command.numbers, command.by_uid))
    uids = view.uid_set(slices)
    target = await open_target(session, command.mailbox)
    owner = await session.owner(command.mailbox)
    if not session.owns_selected(owner):  # else it adds nothing
        await session.quotas.check(owner, view.index.sizes_of(uids))
    await session.pause_after(len(uids.ranges))
    copied = await guarded.move(view.mailbox, uids, target)
    session.brought(target, copied.target)
    await session.pause_after(len(uids.ranges))
    if code := _copyuid(copied):
        session.send(r.Untagged(r.Condition.OK, "Moved", code))
    await session.tell(may_expunge=True, always=True)
    # After the VANISHED of a MOVE, HIGHESTMODSEQ: RFC 7162 3.2.10 and RFC 6851 4.4.
    modseq = f"HIGHESTMODSEQ {view.index.modseq}" if session.condstore and copied.source else None
    return done_within(session, Done("MOVE completed", modseq), lowest)
