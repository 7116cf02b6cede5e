"""SELECT and EXAMINE, with CONDSTORE and QRESYNC."""

from __future__ import annotations

from pymap.backend.rights import ALL_RIGHTS
from pymap.imap.columns import COLUMNS, lines
from pymap.imap.fetch import changed_after
from pymap.imap.guarded import bare, may_set, need
from pymap.imap.list import list_entry
from pymap.imap.session import Done, Session, uid_required
from pymap.imap.view import MailboxView, spans
from pymap.wire import responses as r
from pymap.wire.commands import FetchAttribute, QResync, Select
from pymap.wire.connection import State
from pymap.wire.errors import BadCommand
from pymap.wire.types import NO_UIDS, SEEN, SYSTEM_FLAGS, SequenceSet, UidSet

__all__ = ["select"]

OK = r.Condition.OK
WRITING = "iestw"
"""Who has none of these rights selects read-only.   RFC 4314 5.2"""


async def select(session: Session, command: Select) -> Done:
    """RFC 9051 6.3.2, 6.3.3; RFC 3501 6.3.1; RFC 7162 3.1.8, 3.2.5; RFC 8474 4.2"""
    if command.qresync is not None and not session.qresync:
        raise BadCommand("QRESYNC needs ENABLE QRESYNC")  # RFC 7162 3.2.5
    if command.qresync is not None and command.qresync.matches and session.uid_only:
        raise uid_required()  # RFC 9586 3
    was_selected = session.view is not None
    # Whatever becomes of it, the old mailbox is left first.   RFC 9051 6.3.2
    session.deselect()
    if was_selected:
        # Whether or not anything was enabled: RFC 7162 3.2.11, RFC 9051 7.1.
        session.send(r.Untagged(OK, "Previous mailbox closed", "CLOSED"))
    session.refer(command)
    mailbox = await session.authenticated().open(command.mailbox)
    need(mailbox, "r")
    readonly = command.readonly or mailbox.rights.isdisjoint(WRITING)
    if command.condstore:
        session.enable("CONDSTORE")
    opened = session.open_mailboxes.get(bare(mailbox))
    # IMAP4rev2 has no \Recent; EXAMINE must not take it from the others.   RFC 3501 6.3.2
    recent = NO_UIDS if session.rev2 else await mailbox.claim_recent(peek=readonly)
    await opened.sync()
    view = MailboxView(opened, readonly, session.uid_only, mailbox)
    view.recent = recent
    view.rekeyed = opened.rekeyed.get(session.user or "", 0)
    session.view, session.mailbox_name = view, command.mailbox
    session.connection.state = State.SELECTED
    await _describe(session, view, command)
    if command.qresync is not None and command.qresync.uid_validity == mailbox.uid_validity:
        await _resynchronise(session, view, command.qresync)
    if command.readonly:
        return Done("EXAMINE completed", "READ-ONLY")
    return Done("SELECT completed", "READ-ONLY" if readonly else "READ-WRITE")


async def _describe(session: Session, view: MailboxView, command: Select) -> None:
    index, mailbox = view.index, view.mailbox
    session.send(r.Untagged(OK, "Flags that are kept", f"PERMANENTFLAGS ({_permanent(view)})"))
    session.send(r.Flags(index.flags.known()))
    session.send(r.Exists(view.exists))
    if not session.rev2:
        session.send(r.Recent(view.recent_count))
    session.send(r.Untagged(OK, "Predicted next UID", f"UIDNEXT {view.uid_next}"))
    session.send(r.Untagged(OK, "UIDs valid", f"UIDVALIDITY {mailbox.uid_validity}"))
    numbers = not session.rev2 and not view.uid_only  # UNSEEN tells one
    if numbers and (first := index.first_without(SEEN)) is not None:
        session.send(r.Untagged(OK, "First unseen", f"UNSEEN {first + 1}"))
    session.send(r.Untagged(OK, "Highest modseq", f"HIGHESTMODSEQ {index.modseq}"))
    session.send(r.Untagged(OK, "Mailbox id", f"MAILBOXID ({mailbox.id})"))
    if (mechanisms := session.url_mechanisms) is not None:
        session.send(r.Untagged(OK, "For URLs", mechanisms))
    if session.rev2:
        session.send(await list_entry(session, command.mailbox, command.supplied))


def _permanent(view: MailboxView) -> str:
    """The flags that this client can change, rendered.   RFC 9051 7.1, RFC 4314 5.1.1"""
    if view.readonly:
        return ""
    mailbox, flags = view.mailbox, view.index.flags
    rights, known = mailbox.rights, (*SYSTEM_FLAGS, *flags.keywords.values())
    names = [str(flag) for flag in known if rights is ALL_RIGHTS or may_set(rights, flag)]
    return " ".join([*names, "\\*"] if mailbox.new_keywords else names)


async def _resynchronise(session: Session, view: MailboxView, known: QResync) -> None:
    """What was expunged and what changed since the client's modseq.   RFC 7162 3.2.5"""
    highest = view.uid_next - 1
    everything = UidSet(((1, highest),)) if highest else NO_UIDS
    asked = everything
    if known.known_uids is not None:
        asked &= UidSet(known.known_uids.resolve(highest))
    vanished = await view.opened.vanished_since(known.modseq)
    if vanished is None:
        # The log does not reach back: all that is not there may have been expunged since. Up
        # to the last message that the client has right, it knows.   RFC 7162 3.2.5.2
        vanished = everything - UidSet.from_sorted(view.uids[: view.exists])
        in_order = _last_match(view, known.matches)
        if in_order:
            vanished -= UidSet(((1, in_order),))
    vanished &= asked
    if vanished:
        session.send(r.Vanished(vanished, earlier=True))
    slices = changed_after(view, asked.slices(view.uids, view.exists), known.modseq)
    wanted = [FetchAttribute.FLAGS, FetchAttribute.MODSEQ]
    if not view.uid_only:
        wanted.insert(0, FetchAttribute.UID)
    columns = [COLUMNS[a] for a in wanted]
    for start, stop in spans(slices, 1000):
        session.peer.write(b"".join(lines(view, view.batch(start, stop), columns, b")\r\n")))
        await session.peer.breathe()


def _last_match(view: MailboxView, matches: tuple[SequenceSet, SequenceSet] | None) -> int:
    """The highest UID for which the client's sequence number still holds, 0 if there is none."""
    if matches is None:
        return 0
    numbers = UidSet(matches[0].resolve(view.exists))
    uids = UidSet(matches[1].resolve(view.uid_next))
    best = 0
    for number, uid in zip(numbers, uids, strict=False):
        if number <= view.exists and view.uids[number - 1] == uid:
            best = uid
        else:
            break
    return best
