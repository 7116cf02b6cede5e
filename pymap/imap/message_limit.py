"""MESSAGELIMIT and SAVELIMIT: how many messages one command works on.   RFC 9738

A larger command works on its newest messages, and says which is the oldest of them; one that is all
or nothing (COPY, APPEND) or needs all of them (SORT, THREAD) is refused.
"""

from __future__ import annotations

from pymap.imap.session import Done, Session
from pymap.imap.view import MailboxView, Slices
from pymap.wire import responses as r
from pymap.wire.errors import Refused
from pymap.wire.types import UidSet

__all__ = ["check_count", "check_saved", "done_within", "newest", "newest_uids"]


def newest(session: Session, view: MailboxView, slices: Slices) -> tuple[Slices, int | None]:
    """As many as are allowed, and the lowest UID among them if that is not all.   RFC 9738 3.1"""
    limit = session.extensions.message_limit
    if limit is None or sum(stop - start for start, stop in slices) <= limit:
        return slices, None
    kept: Slices = []
    for start, stop in reversed(slices):
        kept.append((max(start, stop - limit), stop))
        limit -= stop - kept[-1][0]
        if not limit:
            break
    kept.reverse()
    return kept, view.uids[kept[0][0]]


def newest_uids(session: Session, uids: UidSet) -> tuple[UidSet, int | None]:
    """The same of a set of UIDs that are all there."""
    limit = session.extensions.message_limit
    if limit is None or len(uids) <= limit:
        return uids, None
    lowest = list(uids)[-limit]
    return uids & UidSet(((lowest, uids.highest),)), lowest


def done_within(session: Session, done: Done, lowest: int | None) -> Done:
    """The end of a command, which tells of what it left out. In a response of its own where the
    tagged one has to say something else."""
    if lowest is None:
        return done
    code = f"MESSAGELIMIT {session.extensions.message_limit} {lowest}"
    if done.code is None:
        return done._replace(code=code)
    session.send(r.Untagged(r.Condition.NO, "Only the newest messages", code))
    return done


def check_count(session: Session, count: int) -> None:
    """Of a command that cannot do with fewer."""
    _check(session.extensions.message_limit, count)


def check_saved(session: Session, count: int) -> None:
    """Of a command that adds messages, all or none."""
    extensions = session.extensions
    _check(extensions.message_limit or extensions.save_limit, count)


def _check(limit: int | None, count: int) -> None:
    if limit is not None and count > limit:
        raise Refused(f"MESSAGELIMIT {limit}", "Too many messages at once")
