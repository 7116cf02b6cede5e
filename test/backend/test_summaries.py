"""What SORT and THREAD compare, kept within a bound."""

from __future__ import annotations

from collections.abc import Sequence

from pymap.backend.conformance import new_message
from pymap.backend.dict.mailbox import DictMailbox
from pymap.backend.summaries import NOTHING, OVERHEAD, Summaries
from pymap.wire.types import UidSet


class Counting(DictMailbox):
    """Tells what it was asked for."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[int] = []

    async def summaries(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        self.asked += uids
        return await super().summaries(uids)


async def filled(*subjects: str) -> Counting:
    mailbox = Counting()
    await mailbox.append([new_message(f"Subject: {s}\r\n\r\n".encode()) for s in subjects])
    return mailbox


async def read(summaries: Summaries, mailbox: Counting, *uids: int) -> list[bytes]:
    """What it brings; `asked` is what the store was asked for meanwhile."""
    mailbox.asked = []
    rows = await mailbox.metadata(UidSet.of(*uids))
    ids = {row.uid: row.email_id for row in rows}
    return await summaries.read(mailbox, uids, [ids.get(uid, "Mgone") for uid in uids])


async def test_a_store_is_asked_once_for_each_message() -> None:
    summaries, mailbox = Summaries(), await filled("a", "b", "c")
    a, b, c = [made.summary for made in await mailbox.digests([1, 2, 3]) if made]
    assert await read(summaries, mailbox, 2, 1) == [b, a]
    assert mailbox.asked == [2, 1]
    assert await read(summaries, mailbox, 1, 2, 3) == [a, b, c]
    assert mailbox.asked == [3]
    assert await read(summaries, mailbox, 3, 1) == [c, a]
    assert mailbox.asked == []
    assert summaries.size == sum(map(len, (a, b, c))) + 3 * OVERHEAD


async def test_a_message_that_is_gone_has_nothing() -> None:
    summaries, mailbox = Summaries(), await filled("a")
    (a,) = await mailbox.summaries([1])
    assert await read(summaries, mailbox, 1, 7) == [a, NOTHING]


async def test_the_mailbox_that_was_not_asked_for_longest_goes_first() -> None:
    one, two, three = [await filled("a", "b") for _ in range(3)]
    room = sum(len(made) + OVERHEAD for made in await one.summaries([1, 2]) if made)
    summaries = Summaries(2 * room)
    for mailbox in (one, two, one, three):
        await read(summaries, mailbox, 1, 2)
        assert summaries.size <= 2 * room
    await read(summaries, one, 1, 2)
    assert one.asked == []
    await read(summaries, two, 1, 2)
    assert two.asked == [1, 2]


async def test_a_mailbox_that_is_too_large_is_read_each_time() -> None:
    summaries, mailbox = Summaries(1), await filled("a", "b")
    for _ in range(2):
        assert NOTHING not in await read(summaries, mailbox, 1, 2)
        assert mailbox.asked == [1, 2]
        assert summaries.size == 0


async def test_one_id_for_two_mailboxes_does_no_harm() -> None:
    summaries, one, other = Summaries(), await filled("a"), await filled("b")
    other.id = one.id
    assert await read(summaries, one, 1) == await one.summaries([1])
    assert await read(summaries, other, 1) == await other.summaries([1])
