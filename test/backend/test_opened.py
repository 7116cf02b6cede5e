"""The mirror of a store that has no columns itself."""

from __future__ import annotations

import asyncio
import gc
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from columns_check import check

from pymap.backend.api import Changes, Mailbox, NewMessage, Row, Snapshot, Stored, digest
from pymap.backend.conformance import new_message
from pymap.backend.errors import MailboxGone, MessageExpunged, Unavailable
from pymap.backend.index import (
    ChangeLog,
    MessageIndex,
    NewRow,
)
from pymap.backend.opened import OpenMailbox, OpenMailboxes
from pymap.wire.types import (
    FLAGGED,
    NO_UIDS,
    SEEN,
    Flag,
    FlagOp,
    InternalDate,
    UidSet,
)

ALL = UidSet(((1, 0xFFFFFFFF),))
DATE = InternalDate(1_000_000_000, 60)


def row(*flags: Flag, size: int = 10, email_id: str = "M1") -> NewRow:
    return NewRow(frozenset(flags), size, DATE, None, email_id)


def filled(count: int, *flags: Flag) -> MessageIndex:
    index = MessageIndex()
    index.append([row(*flags) for _ in range(count)])
    return index


# -- OpenMailbox: a mirror of a store whose moments a test can choose --


class Remote(Mailbox):
    """A store without columns. `meanwhile[name]` runs once, right before `name` answers."""

    def __init__(self, id: str = "F1") -> None:
        self.id, self.uid_validity = id, 1
        self.truth = MessageIndex()
        self.meanwhile: dict[str, Callable[[], object]] = {}
        self.asked: list[str] = []
        self.waits = 0
        self.news = asyncio.Event()
        self.truth.listeners.add(self.news.set)

    async def _ask(self, name: str) -> MessageIndex:
        self.asked.append(name)
        await asyncio.sleep(0)
        self.meanwhile.pop(name, lambda: None)()
        if self.truth.gone:
            raise MailboxGone
        return self.truth

    def add(self, *flags: Flag) -> UidSet:
        return self.truth.append([row(*flags)])

    def flag(self, *uids: int) -> Stored:
        return self.truth.store(UidSet.of(*uids), FlagOp.ADD, frozenset((FLAGGED,)), None)

    def forget(self) -> None:
        """The store no longer knows what vanished up to now."""
        self.truth.vanished_log = ChangeLog(self.truth.modseq)

    async def snapshot(self) -> Snapshot:
        truth = await self._ask("snapshot")
        return Snapshot(truth.uid_next, truth.modseq, truth.uids[:])

    async def changes(self, since: int) -> Changes:
        return (await self._ask("changes")).changes(since)

    async def metadata(self, uids: UidSet) -> Sequence[Row]:
        return (await self._ask("metadata")).rows(uids)

    async def content(self, uid: int) -> bytes:
        raise MessageExpunged

    async def append(self, messages: Sequence[NewMessage]) -> UidSet:
        return self.truth.append([row(*message.flags) for message in messages])

    async def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None = None
    ) -> Stored:
        return self.truth.store(uids, op, flags, unchanged_since)

    async def expunge(self, uids: UidSet) -> UidSet:
        return self.truth.expunge(uids)

    async def wait(self, since: int) -> None:
        self.waits += 1
        try:
            while (await self._ask("wait")).modseq <= since:
                self.news.clear()
                await self.news.wait()
        finally:
            self.waits -= 1


@pytest.fixture
def remote() -> Remote:
    made = Remote()
    for _ in range(4):
        made.add()
    return made


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """What the event loop complains of, such as an exception that nobody took."""
    found: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(context))
    yield found
    gc.collect()  # here, not in the middle of another test
    loop.set_exception_handler(None)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def in_step(opened: OpenMailbox, remote: Remote) -> None:
    check(opened.index)
    assert opened.index.rows(ALL) == remote.truth.rows(ALL)
    assert opened.index.modseq == remote.truth.modseq
    assert opened.index.uid_next == remote.truth.uid_next


async def test_columns_are_filled_once_and_then_follow(remote: Remote) -> None:
    opened = OpenMailbox(remote)
    assert await opened.sync() is opened.index
    in_step(opened, remote)
    assert remote.asked == ["snapshot", "metadata"]
    remote.asked.clear()
    await opened.sync()
    assert remote.asked == ["changes"]
    remote.flag(2)
    remote.truth.expunge(UidSet.of(1))
    remote.add(SEEN)
    known = opened.index.modseq
    await opened.sync()
    in_step(opened, remote)
    assert opened.index.changed_since(known) == UidSet.of(2, 5)
    assert opened.index.vanished_since(known) == UidSet.of(1)


async def test_the_mirror_knows_nothing_from_before_it_was_filled(remote: Remote) -> None:
    remote.truth.expunge(UidSet.of(1))
    index = await OpenMailbox(remote).sync()
    assert index.vanished_since(1) is None
    assert index.vanished_since(index.modseq) == NO_UIDS
    assert index.changed_since(1) == UidSet.of(2, 3, 4)


async def test_an_empty_mailbox_keeps_its_uid_next(remote: Remote) -> None:
    remote.truth.expunge(ALL)
    opened = OpenMailbox(remote)
    await opened.sync()
    in_step(opened, remote)
    assert opened.index.uid_next == 5


async def test_uid_next_counts_what_came_and_went_unseen(remote: Remote) -> None:
    opened = OpenMailbox(remote)
    await opened.sync()
    remote.truth.expunge(remote.add())
    await opened.sync()
    in_step(opened, remote)


async def test_forgotten_expunges_are_found_by_comparing(remote: Remote) -> None:
    opened = OpenMailbox(remote)
    await opened.sync()
    known = opened.index.modseq
    remote.truth.expunge(UidSet.of(2, 3))
    remote.forget()
    remote.add()
    await opened.sync()
    in_step(opened, remote)
    assert opened.index.vanished_since(known) == UidSet.of(2, 3)


MEANWHILE: dict[str, Callable[[Remote], object]] = {
    "an expunge": lambda remote: remote.truth.expunge(UidSet.of(2)),
    "flags": lambda remote: remote.flag(1, 3),
    "a message": lambda remote: remote.add(),
    "all at once": lambda remote: (
        remote.add(), remote.truth.expunge(UidSet.of(2, 5)), remote.flag(3, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("moment", ["changes", "metadata", "snapshot"])
@pytest.mark.parametrize("what", MEANWHILE)
@pytest.mark.parametrize("first", [False, True])
async def test_what_happens_during_a_pull_is_found_in_the_next(
    remote: Remote, first: bool, what: str, moment: str, forgotten: bool
) -> None:
    opened = OpenMailbox(remote)
    if not first:
        await opened.sync()
    remote.flag(2, 4)
    remote.truth.expunge(UidSet.of(1))
    if forgotten:
        remote.forget()
    remote.meanwhile[moment] = lambda: MEANWHILE[what](remote)
    await opened.sync()
    check(opened.index)
    remote.meanwhile.clear()
    await opened.sync()
    in_step(opened, remote)


async def test_many_pull_at_once(remote: Remote) -> None:
    opened = OpenMailbox(remote)
    await asyncio.gather(*(opened.sync() for _ in range(5)))
    remote.add()
    await asyncio.gather(*(opened.sync() for _ in range(5)))
    in_step(opened, remote)


async def test_a_pull_that_fails_can_be_tried_again(remote: Remote) -> None:
    opened = OpenMailbox(remote)

    def fail() -> None:
        raise Unavailable

    for moment in ("snapshot", "metadata"):
        remote.meanwhile[moment] = fail
        with pytest.raises(Unavailable):
            await opened.sync()
    await opened.sync()
    remote.flag(2)
    for moment in ("changes", "metadata"):
        remote.meanwhile[moment] = fail
        with pytest.raises(Unavailable):
            await opened.sync()
    await opened.sync()
    in_step(opened, remote)


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancelled_pull_can_be_tried_again(remote: Remote, steps: int) -> None:
    opened = OpenMailbox(remote)
    for _ in range(2):
        task = asyncio.create_task(opened.sync())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        remote.add()
    await opened.sync()
    in_step(opened, remote)


@pytest.mark.parametrize("filled", [False, True])
async def test_a_deleted_mailbox_is_gone_for_all(remote: Remote, filled: bool) -> None:
    opened = OpenMailbox(remote)
    if filled:
        await opened.sync()
    heard: list[bool] = []
    opened.index.listeners.add(lambda: heard.append(opened.index.gone))
    remote.truth.close()
    for _ in range(2):
        with pytest.raises(MailboxGone):
            await opened.sync()
    assert heard == [True]


# -- the watcher --


async def test_listeners_hear_of_what_others_do(remote: Remote) -> None:
    opened, heard, also = OpenMailbox(remote), asyncio.Event(), asyncio.Event()
    await opened.sync()
    opened.listen(heard.set)
    opened.listen(also.set)
    await settle()
    assert remote.waits == 1  # one call per mailbox, however many listen
    assert not heard.is_set()
    remote.add()
    async with asyncio.timeout(5):
        await heard.wait()
        await also.wait()
    in_step(opened, remote)
    opened.unlisten(heard.set)
    heard.clear()
    also.clear()
    remote.add()
    async with asyncio.timeout(5):
        await also.wait()
    assert not heard.is_set()
    opened.unlisten(also.set)


async def test_nobody_waits_when_nobody_listens(remote: Remote) -> None:
    opened, heard = OpenMailbox(remote), asyncio.Event()
    await opened.sync()
    for _ in range(3):
        opened.listen(heard.set)
        await settle()
        assert remote.waits == 1
        opened.unlisten(heard.set)
        await settle()
        assert remote.waits == 0
    remote.add()
    await settle()
    assert not heard.is_set()
    opened.unlisten(heard.set)  # twice is no error


async def test_whoever_listens_again_at_once_is_heard(remote: Remote) -> None:
    opened, heard = OpenMailbox(remote), asyncio.Event()
    await opened.sync()
    opened.listen(heard.set)
    await settle()
    opened.unlisten(heard.set)
    opened.listen(heard.set)
    await settle()
    assert remote.waits == 1
    remote.add()
    async with asyncio.timeout(5):
        await heard.wait()
    opened.unlisten(heard.set)


async def test_waking_too_often_is_harmless(remote: Remote) -> None:
    opened, heard = OpenMailbox(remote), asyncio.Event()
    await opened.sync()
    real, times = remote.wait, 0

    async def too_often(since: int) -> None:
        nonlocal times
        times += 1
        if times > 5:
            await real(since)

    remote.wait = too_often  # type: ignore[method-assign]
    opened.listen(heard.set)
    await settle()
    assert not heard.is_set()
    remote.add()
    async with asyncio.timeout(5):
        await heard.wait()
    opened.unlisten(heard.set)


@pytest.mark.parametrize("default_wait", [False, True])
async def test_listeners_hear_of_the_end(
    remote: Remote, complaints: list[dict[str, Any]], default_wait: bool
) -> None:
    """Also when `wait` is the first to find out: the default one asks `snapshot`, which raises."""
    opened, heard = OpenMailbox(remote), asyncio.Event()
    await opened.sync()
    if default_wait:
        remote.wait = lambda since: Mailbox.wait(remote, since)  # type: ignore[method-assign]
    opened.listen(heard.set)
    await settle()
    remote.truth.close()
    async with asyncio.timeout(2):
        await heard.wait()
    assert opened.index.gone
    opened.unlisten(heard.set)
    await settle()
    gc.collect()
    assert complaints == []


async def test_the_watcher_outlives_a_failure_of_the_store(
    remote: Remote, complaints: list[dict[str, Any]]
) -> None:
    """A store that is down for a moment must not leave the idling clients deaf for ever."""
    opened, heard = OpenMailbox(remote), asyncio.Event()
    await opened.sync()

    def fail() -> None:
        raise Unavailable

    remote.meanwhile["wait"] = fail
    opened.listen(heard.set)
    await settle()
    also = asyncio.Event()
    opened.listen(also.set)
    remote.add()
    async with asyncio.timeout(5):
        await heard.wait()
        await also.wait()
    opened.unlisten(heard.set)
    opened.unlisten(also.set)
    await settle()
    gc.collect()
    assert complaints == []


# -- a store with columns of its own --


class Local(Remote):
    """A store that hands its columns over."""

    def __init__(self) -> None:
        super().__init__()
        self.index = self.truth


async def test_columns_handed_over_are_used_as_they_are() -> None:
    local, heard = Local(), asyncio.Event()
    local.add()
    opened = OpenMailbox(local)
    assert await opened.sync() is local.truth
    opened.listen(heard.set)
    local.add()
    assert heard.is_set()
    opened.unlisten(heard.set)
    assert heard.set not in local.truth.listeners
    assert local.asked == []
    local.truth.close()
    with pytest.raises(MailboxGone):
        await opened.sync()


class Shared(Local):
    """A store whose columns others change as well: this one tells of it when it is asked."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere = 0  # messages that others have brought
        self.woken = asyncio.Event()

    async def refresh(self) -> None:
        if self.elsewhere < 0:
            raise MailboxGone
        while self.elsewhere:
            self.elsewhere -= 1
            self.add()

    async def wait(self, since: int) -> None:
        await self.woken.wait()
        self.woken.clear()


async def test_columns_that_others_change_are_refreshed() -> None:
    shared, heard = Shared(), asyncio.Event()
    opened = OpenMailbox(shared)
    shared.elsewhere = 2
    assert len((await opened.sync()).uids) == 2
    opened.listen(heard.set)
    shared.elsewhere = 1
    shared.woken.set()
    await heard.wait()
    assert len(opened.index.uids) == 3
    opened.unlisten(heard.set)
    assert shared.asked == []


async def test_a_shared_mailbox_that_vanishes_elsewhere_is_gone_for_all() -> None:
    shared, heard = Shared(), asyncio.Event()
    opened = OpenMailbox(shared)
    await opened.sync()
    shared.truth.listeners.add(heard.set)
    shared.elsewhere = -1
    with pytest.raises(MailboxGone):
        await opened.sync()
    assert opened.index.gone
    assert heard.is_set()


# -- OpenMailboxes --


async def test_one_set_of_columns_for_all_sessions() -> None:
    mailboxes = OpenMailboxes()
    opened = mailboxes.get(Remote("F1"))
    assert mailboxes.get(Remote("F1")) is opened
    assert mailboxes.get(Remote("F2")) is not opened


async def test_what_no_session_holds_is_forgotten() -> None:
    mailboxes, remote = OpenMailboxes(), Remote()
    await mailboxes.get(remote).sync()
    remote.asked.clear()
    await mailboxes.get(remote).sync()
    assert remote.asked == ["snapshot", "metadata"]


async def test_what_is_gone_is_opened_anew() -> None:
    mailboxes, remote = OpenMailboxes(), Remote()
    opened = mailboxes.get(remote)
    remote.truth.close()
    with pytest.raises(MailboxGone):
        await opened.sync()
    assert mailboxes.get(Remote()) is not opened


def test_columns_have_the_widths_that_imap_needs() -> None:
    index = MessageIndex(uid_next=0xFFFFFFFF)
    index.append([NewRow(frozenset(), 1 << 40, InternalDate(-(1 << 40), -840), None, "M")])
    (made,) = index.rows(ALL)
    assert made.uid == 0xFFFFFFFF
    assert made.size == 1 << 40
    assert made.internal_date == InternalDate(-(1 << 40), -840)
    assert array("I").itemsize == 4
    assert digest(new_message().content) == new_message().digest
