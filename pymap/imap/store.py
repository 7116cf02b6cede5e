"""STORE and UID STORE, with UNCHANGEDSINCE."""

from __future__ import annotations

from pymap.backend.errors import MessageExpunged, ReadOnly
from pymap.imap.columns import COLUMNS, Column, lines
from pymap.imap.gmail import store_flags
from pymap.imap.message_limit import done_within, newest
from pymap.imap.session import Done, Session
from pymap.imap.view import MailboxView, Slices, spans
from pymap.wire.commands import FetchAttribute, Store
from pymap.wire.errors import BadCommand
from pymap.wire.types import NO_UIDS, SYSTEM_FLAGS, Flag, UidSet

__all__ = ["check_flags", "store"]

BATCH = 1000


def check_flags(flags: frozenset[Flag]) -> None:
    r"""Only the system flags that RFC 9051 2.3.2 defines may be set; \Recent is the server's."""
    for flag in flags:
        if flag.is_system and flag not in SYSTEM_FLAGS:
            raise BadCommand(f"{flag} cannot be set")


async def store(session: Session, command: Store) -> Done:
    """RFC 9051 6.4.6, RFC 7162 3.1.3"""
    view = session.selected()
    if command.labels:
        session.require("X-GM-EXT-1")
    check_flags(command.flags)
    if view.readonly:
        raise ReadOnly
    conditional = command.unchanged_since is not None
    if conditional:
        session.enable("CONDSTORE")
    index = await view.opened.sync()
    slices, lowest = newest(session, view, view.resolve(command.numbers, command.by_uid))
    uids = view.uid_set(slices)
    await session.pause_after(len(slices))
    # What others did and this client does not know is told whatever `.SILENT` says, as it is
    # after this command.   RFC 9051 6.4.6
    foreign, known = view.untold(), index.modseq
    done = await store_flags(view, uids, command)
    await view.opened.sync()
    session.send_keywords(view)
    if done.failed:
        slices = (uids - done.failed).slices(view.uids, view.exists)
    answered = await _answer(session, view, slices, command)
    if view.stored(done, known):
        told = NO_UIDS if command.silent else uids - done.failed
        session.send_flags(view, (foreign - told).slices(view.uids, view.exists))
    missing = not command.silent and answered < sum(stop - start for start, stop in slices)
    if done.failed:
        failed = done.failed if command.by_uid else _numbers(view, done.failed)
        some = Done("STORE completed; some messages had changed", f"MODIFIED {failed}")
        return done_within(session, some, lowest)
    if missing and not command.by_uid:
        # Of the messages that this client still counts, another session has expunged some: the
        # others are stored and told of.   RFC 2180 4.2.1
        raise MessageExpunged
    return done_within(session, Done("STORE completed"), lowest)


async def _answer(session: Session, view: MailboxView, slices: Slices, command: Store) -> int:
    """FETCH responses with the new flags; after CONDSTORE the new modseq, even if `.SILENT` (RFC
    7162 3.1.3). Returns how many."""
    wanted: list[FetchAttribute] = []
    if not command.silent:
        labels = command.labels
        wanted.append(FetchAttribute.X_GM_LABELS if labels else FetchAttribute.FLAGS)
    if session.condstore:
        wanted.append(FetchAttribute.MODSEQ)
    if not wanted:
        return 0
    # The UID form answers with the UID (RFC 9051 6.4.9), QRESYNC always does (RFC 7162 3.2.4).
    if (command.by_uid or session.qresync or session.rev2) and not view.uid_only:
        wanted.insert(0, FetchAttribute.UID)
    columns: list[Column] = [COLUMNS[attribute] for attribute in wanted]
    answered = pending = 0
    for start, stop in spans(slices, BATCH):
        answers = lines(view, view.batch(start, stop), columns, b")\r\n")
        answered += len(answers)
        octets = b"".join(answers)
        session.peer.write(octets)
        pending += len(octets)
        if pending > 64 * 1024:
            pending = 0
            await session.peer.breathe()
    return answered


def _numbers(view: MailboxView, uids: UidSet) -> UidSet:
    """The same messages by sequence number."""
    return UidSet((start + 1, stop) for start, stop in uids.slices(view.uids, view.exists))
