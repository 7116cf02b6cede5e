"""The columns: flag sets, change logs, and the mirror of a store that has no columns itself."""

from __future__ import annotations

import asyncio
import gc
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.backend.api import Changes, Mailbox, NewMessage, Row, Snapshot, Stored, digest
from pymap.backend.conformance import new_message
from pymap.backend.errors import LimitReached, MailboxGone, MessageExpunged, Unavailable
from pymap.backend.index import (
    ChangeLog,
    FlagTable,
    MessageIndex,
    NewRow,
    OpenMailbox,
    OpenMailboxes,
)
from pymap.wire.types import (
    ANSWERED,
    DELETED,
    DRAFT,
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


# -- FlagTable --


def test_a_flag_set_has_one_number() -> None:
    table = FlagTable()
    table.admit(frozenset((Flag("$Junk"),)))
    assert table.number(frozenset()) == 0
    number = table.number(frozenset((SEEN, Flag("$Junk"))))
    assert table.number(frozenset((Flag("$JUNK"), SEEN))) == number
    assert table.sets[number] == {SEEN, Flag("$Junk")}


def test_a_keyword_keeps_the_spelling_it_was_first_seen_in() -> None:
    table = FlagTable()
    table.admit(frozenset((Flag("$Junk"),)))
    table.admit(frozenset((Flag("$JUNK"), Flag("Work"))))
    number = table.number(frozenset((Flag("$jUNK"), Flag("WORK"))))
    assert table.rendered[number] == b"$Junk Work"
    assert table.known() == rb"\Answered \Flagged \Deleted \Seen \Draft $Junk Work"


def test_flags_are_rendered_in_one_order() -> None:
    table = FlagTable()
    table.admit(frozenset((Flag("zz"),)))
    table.admit(frozenset((Flag("aa"),)))
    number = table.number(frozenset((Flag("aa"), DRAFT, Flag("zz"), SEEN, ANSWERED)))
    assert table.rendered[number] == rb"\Answered \Seen \Draft zz aa"
    assert table.rendered_recent[number] == rb"\Answered \Seen \Draft zz aa \Recent"
    assert table.rendered[0] == b""
    assert table.rendered_recent[0] == rb"\Recent"


def test_one_keyword_too_many_is_not_admitted() -> None:
    table = FlagTable(limit=2)
    table.admit(frozenset((Flag("a"), SEEN)))
    with pytest.raises(LimitReached):
        table.admit(frozenset((Flag("b"), Flag("c"))))
    assert list(table.keywords) == ["a"]
    table.admit(frozenset((Flag("b"), Flag("A"))))
    assert list(table.keywords) == ["a", "b"]


def test_having_is_by_number() -> None:
    table = FlagTable()
    table.number(frozenset((SEEN,)))
    table.number(frozenset((SEEN, DELETED)))
    assert table.having(SEEN) == [False, True, True]
    assert table.having(DELETED) == [False, False, True]


# -- ChangeLog --


def test_since_is_strict() -> None:
    log = ChangeLog(1)
    log.add(2, UidSet.of(1, 2))
    log.add(5, UidSet.of(2, 7))
    assert log.since(1) == UidSet.of(1, 2, 7)
    assert log.since(2) == log.since(4) == UidSet.of(2, 7)
    assert log.since(5) == log.since(9) == NO_UIDS


def test_a_full_log_forgets_its_older_half() -> None:
    log = ChangeLog(1, max_ranges=4)
    for modseq in range(2, 7):
        log.add(modseq, UidSet.of(modseq * 10))
    assert log.floor == 3
    assert log.since(3) == UidSet.of(40, 50, 60)


def test_one_large_set_is_kept() -> None:
    log = ChangeLog(1, max_ranges=2)
    log.add(2, UidSet.of(1, 3, 5, 7))
    assert log.since(1) == UidSet.of(1, 3, 5, 7)
    assert log.floor == 1


uid_sets = st.frozensets(st.integers(1, 12), min_size=1, max_size=6).map(lambda s: UidSet.of(*s))


@given(st.lists(st.tuples(st.integers(1, 3), uid_sets), max_size=30), st.integers(1, 8))
def test_a_log_tells_all_that_happened_after_its_floor(
    entries: list[tuple[int, UidSet]], max_ranges: int
) -> None:
    log, modseq, told = ChangeLog(1, max_ranges), 1, [(1, NO_UIDS)]
    for step, uids in entries:
        modseq += step
        log.add(modseq, uids)
        told.append((modseq, uids))
    for since in range(log.floor, modseq + 2):
        assert set(log.since(since)) == {u for at, uids in told for u in uids if at > since}
    assert log.floor <= max(modseq, 1)


@given(st.lists(uid_sets, max_size=40), st.integers(1, 8))
def test_a_log_stays_near_its_bound(sets: list[UidSet], max_ranges: int) -> None:
    log = ChangeLog(1, max_ranges)
    for modseq, uids in enumerate(sets, 2):
        log.add(modseq, uids)
        assert log._cost == sum(len(kept.ranges) for kept in log._sets)
        # One entry may be over it, and the halving may leave a second.
        assert log._cost <= max_ranges + 2 * max(len(kept.ranges) for kept in log._sets)


# -- MessageIndex --


def test_a_session_keeps_reading_the_array_it_knows() -> None:
    """Rule 2."""
    index = filled(40)
    known, exists = index.uids, len(index.uids)
    index.append([row()])
    assert index.uids is known  # grown in place
    for gone in (UidSet.of(41), UidSet.of(1), UidSet.from_sorted(range(3, 40, 2))):
        before, content = index.uids, list(index.uids)
        index.expunge(gone)
        assert index.uids is not before
        assert list(before) == content
    assert list(known[:exists]) == list(range(1, 41))
    assert list(index.uids) == [2, *range(4, 41, 2)]


def test_an_expunge_of_nothing_keeps_the_array() -> None:
    index = filled(2)
    known, modseq = index.uids, index.modseq
    assert index.expunge(UidSet.of(7)) == NO_UIDS
    assert index.uids is known
    assert index.modseq == modseq


def test_listeners_hear_of_each_change_and_of_nothing_else() -> None:
    index, heard = filled(2), []

    def listener() -> None:
        heard.append(index.modseq)
        index.listeners.discard(listener)  # may go while it is called
        index.listeners.add(listener)

    index.listeners.add(listener)
    index.store(ALL, FlagOp.ADD, frozenset((SEEN,)), None)
    index.store(ALL, FlagOp.ADD, frozenset((SEEN,)), None)
    index.expunge(UidSet.of(9))
    index.append([])
    index.expunge(UidSet.of(1))
    index.copy_from(index, UidSet.of(2), 0)
    assert heard == [3, 4, 5]
    index.close()
    assert heard == [3, 4, 5, 5]


def test_too_many_keywords_change_nothing() -> None:
    index = MessageIndex(max_keywords=1)
    index.append([row(Flag("a"))])
    other = MessageIndex()
    other.append([row(), row(Flag("b"))])
    calls: list[Callable[[], Any]] = [
        lambda: index.append([row(), row(Flag("b"))]),
        lambda: index.copy_from(other, ALL, 0),
        lambda: index.store(ALL, FlagOp.SET, frozenset((Flag("b"),)), None),
    ]
    for call in calls:
        before = (index.rows(ALL), index.uid_next, index.modseq, index.size)
        with pytest.raises(LimitReached):
            call()
        assert (index.rows(ALL), index.uid_next, index.modseq, index.size) == before
        check(index)
    index.store(ALL, FlagOp.REMOVE, frozenset((Flag("b"),)), None)  # takes no room


def test_forgotten_expunges_are_said_to_be() -> None:
    index = filled(10)
    index.vanished_log = ChangeLog(index.modseq, max_ranges=2)
    index.changed_log = ChangeLog(index.modseq, max_ranges=2)
    start = index.modseq
    for uid in (1, 3, 5, 7):
        index.store(UidSet.of(uid + 1), FlagOp.ADD, frozenset((SEEN,)), None)
        index.expunge(UidSet.of(uid))
    assert index.vanished_log.floor > start
    assert index.vanished_since(start) is None
    changes = index.changes(start)
    assert (changes.complete, changes.vanished) == (False, NO_UIDS)
    assert changes.changed == UidSet.of(2, 4, 6, 8)  # from the column
    assert index.changes(index.vanished_log.floor).complete
    assert index.changes(index.modseq) == Changes(index.modseq, NO_UIDS, NO_UIDS)


def test_first_without() -> None:
    index = MessageIndex()
    assert index.first_without(SEEN) is None
    index.append([row(SEEN), row(SEEN, DELETED), row(), row()])
    assert index.first_without(SEEN) == 2
    index.store(ALL, FlagOp.ADD, frozenset((SEEN,)), None)
    assert index.first_without(SEEN) is None


def check(index: MessageIndex) -> None:
    """What is kept twice agrees, and no column is shorter than another."""
    columns: list[Sequence[Any]] = [
        index.modseqs, index.flagsets, index.sizes, index.dates, index.zones, index.saved,
        index.email_ids,
    ]  # fmt: skip
    assert {len(column) for column in columns} == {len(index.uids)}
    assert list(index.uids) == sorted(set(index.uids))
    assert index.uid_next > (index.uids[-1] if index.uids else 0)
    assert max(index.modseqs, default=0) <= index.modseq
    rows = index.rows(ALL)
    assert [r.uid for r in rows] == list(index.uids)
    status = index.status(3)
    assert status == (
        len(rows),
        3,
        sum(SEEN not in r.flags for r in rows),
        sum(DELETED in r.flags for r in rows),
        sum(r.size for r in rows if DELETED in r.flags),
        sum(r.size for r in rows),
        index.uid_next,
        index.modseq,
    )
    assert [index.position(r.uid) for r in rows] == list(range(len(rows)))
    assert index.position(index.uid_next) is None


FLAGS = [SEEN, DELETED, FLAGGED, Flag("$Junk"), Flag("$JUNK"), Flag("work")]
flag_sets = st.frozensets(st.sampled_from(FLAGS), max_size=3)
some_uids = st.frozensets(st.integers(1, 50), max_size=20).map(lambda s: UidSet.of(*s))
ranges = st.tuples(st.integers(1, 40), st.integers(0, 40)).map(lambda p: UidSet(((p[0], sum(p)),)))
any_uids = some_uids | ranges
calls = st.one_of(
    st.tuples(st.just("append"), st.lists(flag_sets, max_size=8)),
    st.tuples(
        st.just("store"), any_uids, st.sampled_from(FlagOp), flag_sets,
        st.none() | st.integers(0, 20),
    ),
    st.tuples(st.just("expunge"), any_uids),
    st.tuples(st.just("copy"), any_uids),
)  # fmt: skip


@given(st.lists(calls, max_size=25), st.integers(1, 12))
def test_an_index_does_what_a_dict_does(steps: list[Any], max_ranges: int) -> None:
    index = MessageIndex()
    index.changed_log = ChangeLog(1, max_ranges)
    index.vanished_log = ChangeLog(1, max_ranges)
    model: dict[int, tuple[frozenset[Flag], int]] = {}  # flags, modseq
    gone: dict[int, int] = {}
    for name, *arguments in steps:
        before = index.modseq
        match name:
            case "append":
                [flags] = arguments
                made = index.append([row(*some) for some in flags])
                assert len(made) == len(flags)
                model.update({u: (f, before + 1) for u, f in zip(made, flags, strict=True)})
                changed = bool(flags)
            case "store":
                uids, op, flags, since = arguments
                there = [u for u in uids if u in model]
                failed = [u for u in there if since is not None and model[u][1] > since]
                become = {u: op.apply(model[u][0], flags) for u in there if u not in failed}
                become = {u: new for u, new in become.items() if new != model[u][0]}
                changed = bool(become)
                assert index.store(uids, op, flags, since) == Stored(
                    before, before + changed, UidSet.of(*become), UidSet.of(*failed)
                )
                model.update({u: (new, before + 1) for u, new in become.items()})
            case "expunge":
                [uids] = arguments
                there = [u for u in uids if u in model]
                assert index.expunge(uids) == UidSet.of(*there)
                for u in there:
                    del model[u]
                    gone[u] = before + 1
                changed = bool(there)
            case "copy":
                [uids] = arguments
                there = [u for u in uids if u in model]
                made = index.copy_from(index, uids, 5)
                assert len(made) == len(there)
                model.update(
                    {new: (model[u][0], before + 1) for u, new in zip(there, made, strict=True)}
                )
                changed = bool(there)
        assert index.modseq == before + changed
        check(index)
    assert {r.uid: (r.flags, r.modseq) for r in index.rows(ALL)} == model
    for since in range(index.modseq + 2):
        changes = index.changes(since)
        assert set(changes.changed) == {u for u, (_, at) in model.items() if at > since}
        if changes.complete:
            assert set(changes.vanished) == {u for u, at in gone.items() if at > since}
        else:
            assert since < index.vanished_log.floor


@given(st.lists(calls, max_size=25), st.lists(st.integers(0, 3), min_size=25, max_size=25))
def test_a_mirror_follows(steps: list[Any], pulls: list[int]) -> None:
    """Several calls, then one jump; now and then the log has forgotten."""
    index, mirror = MessageIndex(), MessageIndex(modseq=0)

    def pull() -> None:
        changes = index.changes(mirror.modseq)
        if not changes.complete:
            there = UidSet.from_sorted(index.uids)
            changes = changes._replace(vanished=UidSet.from_sorted(mirror.uids) - there)
        mirror.apply(changes, index.rows(changes.changed), index.uid_next)
        check(mirror)
        assert mirror.rows(ALL) == index.rows(ALL)
        assert (mirror.modseq, mirror.uid_next) == (index.modseq, index.uid_next)

    for (name, *arguments), then in zip(steps, pulls, strict=False):
        if name == "append":
            index.append([row(*some) for some in arguments[0]])
        elif name == "copy":
            index.copy_from(index, arguments[0], 5)
        else:
            getattr(index, name)(*arguments)
        if then == 0:
            pull()
        elif then == 1:
            index.vanished_log = ChangeLog(index.modseq)
    pull()


def test_a_mirror_also_shrinks_no_array_in_place() -> None:
    mirror = MessageIndex(modseq=0)
    rows = [Row(uid, 2, frozenset(), 1, DATE, None, "M") for uid in range(1, 6)]
    mirror.apply(Changes(2, UidSet(((1, 5),)), NO_UIDS), rows, 6)
    known = mirror.uids
    mirror.apply(Changes(3, NO_UIDS, UidSet.of(2, 9)), (), 6)
    assert list(known) == [1, 2, 3, 4, 5]
    assert list(mirror.uids) == [1, 3, 4, 5]
    assert mirror.vanished_since(2) == UidSet.of(2, 9), "a client may have met 9 elsewhere"


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
