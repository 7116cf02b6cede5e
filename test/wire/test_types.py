"""Sets of numbers against Python's sets, dates against datetime."""

from __future__ import annotations

from array import array
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.wire.framer import Frame
from pymap.wire.scanner import Scanner
from pymap.wire.types import (
    MAX_NUMBER,
    MONTHS,
    NO_UIDS,
    SEEN,
    Flag,
    FlagOp,
    InternalDate,
    SequenceSet,
    UidSet,
)

# Few enough numbers that runs touch and overlap; the last ones are there too.
numbers = st.integers(1, 30) | st.integers(MAX_NUMBER - 4, MAX_NUMBER)
models = st.sets(numbers)


def uid_set(model: set[int]) -> UidSet:
    return UidSet.of(*model)


def column(model: set[int]) -> array[int]:
    return array("I", sorted(model))


# -- UidSet --


@given(models)
def test_a_uid_set_is_a_set(model: set[int]) -> None:
    made = uid_set(model)
    assert list(made) == sorted(model)
    assert len(made) == len(model)
    assert bool(made) == bool(model)
    assert all((uid in made) == (uid in model) for uid in {0, *range(1, 32), *model})
    assert made.lowest == min(model, default=0)
    assert made.highest == max(model, default=0)
    assert (made == NO_UIDS) == (not model)


@given(models)
def test_ranges_are_ascending_and_do_not_touch(model: set[int]) -> None:
    ranges = uid_set(model).ranges
    assert all(first <= last for first, last in ranges)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(ranges))


@given(models)
def test_from_sorted(model: set[int]) -> None:
    assert UidSet.from_sorted(column(model)) == UidSet.from_sorted(sorted(model)) == uid_set(model)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9))))
def test_from_ranges_in_any_order(pairs: list[tuple[int, int]]) -> None:
    ranges = [(first, first + more) for first, more in pairs]
    model = {uid for first, last in ranges for uid in range(first, last + 1)}
    assert UidSet(ranges) == uid_set(model)
    assert hash(UidSet(ranges)) == hash(uid_set(model))


@given(models, models)
def test_algebra(a: set[int], b: set[int]) -> None:
    assert uid_set(a) | uid_set(b) == uid_set(a | b)
    assert uid_set(a) & uid_set(b) == uid_set(a & b)
    assert uid_set(a) - uid_set(b) == uid_set(a - b)
    assert (uid_set(a) == uid_set(b)) == (a == b)


@given(models, models, st.none() | st.integers(0, 35))
def test_places_in_a_column(members: set[int], stored: set[int], end: int | None) -> None:
    uids = column(stored)
    if end is not None:
        end = min(end, len(uids))
    looked_at = uids[:end]
    slices = uid_set(members).slices(uids, end)
    places = [at for start, stop in slices for at in range(start, stop)]
    assert places == [at for at, uid in enumerate(looked_at) if uid in members]
    assert all(a[1] < b[0] for a, b in pairwise(slices))
    assert uid_set(members).present_in(uids, end) == uid_set(members & set(looked_at))


@given(models)
def test_wire_form_of_a_uid_set(model: set[int]) -> None:
    assert UidSet.parse(str(uid_set(model))) == uid_set(model)


@pytest.mark.parametrize(
    ("text", "model"),
    [("", set()), ("7", {7}), ("1:3,7", {1, 2, 3, 7}), ("3:1", {1, 2, 3}), ("2,1,3:3", {1, 2, 3}),
     ("4294967295", {MAX_NUMBER})],
)  # fmt: skip
def test_uid_set_parse(text: str, model: set[int]) -> None:
    assert UidSet.parse(text) == uid_set(model)


def test_uid_set_str() -> None:
    assert str(UidSet.of(1, 2, 3, 7, 9, 10)) == "1:3,7,9:10"
    assert str(NO_UIDS) == ""


def test_a_million_uids_are_one_range() -> None:
    assert UidSet.from_sorted(range(1, 1_000_001)).ranges == ((1, 1_000_000),)


# -- SequenceSet --

ends = st.integers(0, 12)  # 0 is *


@given(st.lists(st.tuples(ends, ends), min_size=1), st.integers(0, 10))
def test_resolve(pairs: list[tuple[int, int]], highest: int) -> None:
    model: set[int] = set()
    for pair in pairs:
        a, b = (number or highest for number in pair)
        if a and b:  # * of an empty mailbox is nothing
            model.update(range(min(a, b), max(a, b) + 1))
    assert tuple(SequenceSet(tuple(pairs)).resolve(highest)) == uid_set(model).ranges
    assert SequenceSet(tuple(pairs)).has_star == any(0 in pair for pair in pairs)


@given(st.lists(st.tuples(ends, ends), min_size=1).map(tuple))
def test_wire_form_of_a_sequence_set(ranges: tuple[tuple[int, int], ...]) -> None:
    text = str(SequenceSet(ranges)).encode()
    assert Scanner(Frame(text + b"\r\n", [])).sequence_set() == SequenceSet(ranges)


def test_saved_set() -> None:
    assert str(SequenceSet((), saved=True)) == "$"
    assert SequenceSet((), saved=True).resolve(9) == []


# -- flags --


def test_flags_are_equal_without_case_and_keep_their_spelling() -> None:
    """RFC 9051 2.3.2"""
    assert Flag("$Junk") == Flag("$jUNK")
    assert hash(Flag("$Junk")) == hash(Flag("$jUNK"))
    assert len({Flag("$Junk"), Flag("$JUNK"), Flag("Junk")}) == 2
    assert str(Flag("$jUNK")) == "$jUNK"
    assert Flag("$Junk") != "$Junk"


def test_system_flags_come_back_in_their_registered_spelling() -> None:
    assert Flag.of("\\sEEN") is SEEN
    assert SEEN.is_system
    assert not Flag.of("Seen").is_system
    assert Flag.of("Seen") != SEEN


def test_flag_op() -> None:
    a, b = Flag("a"), Flag("b")
    old, given_ = frozenset({a}), frozenset({Flag("A"), b})
    assert FlagOp.SET.apply(old, given_) == {a, b}
    assert FlagOp.ADD.apply(old, frozenset({b})) == {a, b}
    assert FlagOp.REMOVE.apply(frozenset({a, b}), frozenset({Flag("A")})) == {b}


# -- dates --

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared


@given(st.datetimes(), st.integers(-1439, 1439))
def test_internal_date(wall: datetime, zone: int) -> None:
    wall = wall.replace(microsecond=0)
    date = InternalDate((wall - EPOCH) // timedelta(seconds=1) - zone * 60, zone)
    # "%z" of datetime is +hhmm, except that it shows no -0000.
    sign = wall.replace(tzinfo=timezone(timedelta(minutes=zone))).strftime("%z")
    month = MONTHS[wall.month - 1].decode()
    text = f'"{wall.day:2}-{month}-{wall.year:04} {wall:%H:%M:%S} {sign}"'
    assert date.encode() == text.encode()
    assert date.day == (wall - EPOCH).days
    assert Scanner(Frame(date.encode() + b"\r\n", [])).date_time() == date


@pytest.mark.parametrize(
    ("date", "encoded"),
    [
        (InternalDate(0), b'" 1-Jan-1970 00:00:00 +0000"'),
        (InternalDate(0, -30), b'"31-Dec-1969 23:30:00 -0030"'),
        (InternalDate(-1), b'"31-Dec-1969 23:59:59 +0000"'),
        (InternalDate(837596665, -420), b'"17-Jul-1996 02:44:25 -0700"'),  # RFC 9051 7.5.2
        (InternalDate(-62135596800), b'" 1-Jan-0001 00:00:00 +0000"'),
        (InternalDate(253402300799), b'"31-Dec-9999 23:59:59 +0000"'),
        (InternalDate(951782400, 60), b'"29-Feb-2000 01:00:00 +0100"'),
    ],
)
def test_internal_date_table(date: InternalDate, encoded: bytes) -> None:
    assert date.encode() == encoded
