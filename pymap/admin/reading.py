"""All messages of a mailbox, in batches that memory can hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pymap.backend.api import Mailbox, Row
from pymap.wire.types import UidSet

__all__ = ["rows", "small_batches"]

ROWS = 1000
BATCH_OCTETS = 512 * 1024
"""Of content asked for at once; a batch ends with the message that reaches it."""


async def rows(mailbox: Mailbox, uids: Sequence[int]) -> AsyncIterator[Sequence[Row]]:
    """The rows of these messages, those that still exist, some at a time."""
    for start in range(0, len(uids), ROWS):
        yield await mailbox.metadata(UidSet.from_sorted(uids[start : start + ROWS]))


async def small_batches(mailbox: Mailbox, uids: Sequence[int]) -> AsyncIterator[Sequence[Row]]:
    """The same, so many at a time as are to be read at once."""
    async for some in rows(mailbox, uids):
        batch, octets = [], 0
        for row in some:
            batch.append(row)
            octets += row.size
            if octets >= BATCH_OCTETS:
                yield batch
                batch, octets = [], 0
        if batch:
            yield batch
