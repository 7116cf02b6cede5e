"""UIDBATCHES: UID ranges that cut a mailbox into parts of equally many messages.   RFC 10022"""

from __future__ import annotations

from pymap.imap.session import Done, Session
from pymap.wire import responses as r
from pymap.wire.commands import UidBatches
from pymap.wire.errors import BadCommand, Refused

__all__ = ["uid_batches"]

SMALLEST = 500  # messages in a batch
MANY = 100_000  # batches asked for at once


async def uid_batches(session: Session, command: UidBatches) -> Done:
    """The newest messages are the first batch. Each range begins below the one before, so that
    together they hold every UID down to 1, whatever is expunged meanwhile."""
    if command.size < SMALLEST:
        raise Refused("TOOFEW", f"A batch has at least {SMALLEST} messages")
    first, last = command.batches or (1, MANY)
    if first > last:
        raise BadCommand("The range of batches is reversed", "CLIENTBUG")
    if command.batches is not None and last - first >= MANY:
        raise Refused("TOOMANY", "Too many batches at once")
    view = session.selected()
    await session.tell(may_expunge=True)
    uids, size = view.uids, command.size
    ranges = []
    for number in range(first, last + 1):
        left = view.exists - (number - 1) * size
        if left <= 0:
            break
        highest = uids[left] - 1 if number > 1 else uids[left - 1]
        lowest = uids[left - size] if left > size else 1
        ranges.append((highest, lowest))
    session.send(r.UidBatches(command.tag, ranges))
    return Done("UIDBATCHES completed")
