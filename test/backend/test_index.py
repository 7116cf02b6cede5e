"""The columns: flag sets and change logs."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from columns_check import check
from hypothesis import given
from hypothesis import strategies as st

from pymap.backend.api import Changes, Row, Stored
from pymap.backend.errors import LimitReached
from pymap.backend.index import (
    Addition,
    ChangeLog,
    FlagTable,
    MessageIndex,
    NewRow,
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


# -- follow: a store that works its changes out first --


def addition(uids: Sequence[int], *sets: frozenset[Flag], size: int = 10) -> Addition:
    """Messages that take turns with these flag sets."""
    count = len(uids)
    return Addition(
        array("I", uids),
        array("I", [n % len(sets) for n in range(count)]),
        sets,
        array("Q", [size]) * count,
        array("q", [DATE.seconds]) * count,
        array("h", [DATE.zone]) * count,
        array("q", [7]) * count,
        [f"M{uid}" for uid in uids],
    )


def test_follow_takes_one_step_of_all_kinds() -> None:
    index = filled(5, SEEN)
    index.follow(
        50,
        addition([8, 9], frozenset(), frozenset((FLAGGED, Flag("$Junk")))),
        [(UidSet.of(1, 2), frozenset((DELETED,))), (UidSet.of(4), frozenset((SEEN, FLAGGED)))],
        UidSet.of(2, 5, 6),
    )
    check(index)
    assert index.modseq == 50
    assert index.uid_next == 10
    assert {row.uid: set(row.flags) for row in index.rows(ALL)} == {
        1: {DELETED}, 3: {SEEN}, 4: {SEEN, FLAGGED}, 8: set(), 9: {FLAGGED, Flag("$Junk")},
    }  # fmt: skip
    changes = index.changes(2)
    assert changes.changed == UidSet.of(1, 4, 8, 9)
    assert changes.vanished == UidSet.of(2, 5, 6)
    assert [row.modseq for row in index.rows(ALL)] == [50, 2, 50, 50, 50]


@given(st.data())
def test_follow_agrees_with_the_index_that_worked_it_out(data: st.DataObject) -> None:
    """What `append`, `store` and `expunge` do to one index, `follow` does to another."""
    truth, mirror = MessageIndex(), MessageIndex()
    for _ in range(data.draw(st.integers(1, 8))):
        match data.draw(st.sampled_from(["append", "store", "expunge"])):
            case "append":
                sets = data.draw(st.lists(flag_sets, min_size=1, max_size=4))
                made = truth.append([row(*flags) for flags in sets])
                some = addition(list(made), *sets)._replace(
                    saved=array("q", [-1]) * len(sets), email_ids=["M1"] * len(sets)
                )
                mirror.follow(truth.modseq, added=some)
            case "store":
                uids = UidSet.of(*data.draw(st.sets(st.integers(1, 30))))
                op = data.draw(st.sampled_from(list(FlagOp)))
                done = truth.store(uids, op, data.draw(flag_sets), None)
                if done.changed:
                    now = {r.uid: r.flags for r in truth.rows(done.changed)}
                    mirror.follow(done.modseq, flagged=[(UidSet.of(u), f) for u, f in now.items()])
            case "expunge":
                gone = truth.expunge(UidSet.of(*data.draw(st.sets(st.integers(1, 30)))))
                if gone:
                    mirror.follow(truth.modseq, vanished=gone)
        check(mirror)
        assert mirror.rows(ALL) == truth.rows(ALL)
        assert mirror.changes(1) == truth.changes(1)


def test_newer_are_those_above_a_modseq() -> None:
    index = filled(4)
    index.store(UidSet.of(2, 4), FlagOp.ADD, frozenset((SEEN,)), None)
    assert index.newer(ALL, 2) == UidSet.of(2, 4)
    assert index.newer(UidSet.of(1, 2), 2) == UidSet.of(2)
    assert index.newer(ALL, 3) == NO_UIDS
