"""SORT: RFC 5256 3, RFC 5957."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.imap.sorting import column, ranks, sort
from pymap.mime import digest
from pymap.wire.search import Criterion, SortKey

K = SortKey


def mail(sender: str, **fields: str) -> bytes:
    fields["from"] = sender
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + b"\r\n"


HEADERS = [
    mail(sender="Zoe <ada@x>", subject="Re: beta", date="1 Jan 2001 12:00:00 +0000", to="z@x, a@x", cc="m@x"),
    mail(sender="bob@x", subject="alpha", date="nonsense", to="Éric <y@x>"),
    mail(sender="Adam <carl@x>", subject="BETA", date="1 Jan 2001 13:30:00 +0200"),
    mail(sender="bob@x", subject="[list] Alpha", date="31 Dec 2000 16:00:00 -0800", to="Friends: b@x;", cc="M@x"),
]  # fmt: skip
SUMMARIES = [digest(header).summary for header in HEADERS]
RECEIVED = [978_310_800, 978_310_801, 978_310_800, 1]  # the first is 1 Jan 2001 01:00:00
SIZES = [30, 10, 10, 20]
COLUMNS = {
    key: column(key, SUMMARIES, RECEIVED, SIZES) for key in SortKey if key is not K.RELEVANCY
}


@pytest.mark.parametrize(
    ("criteria", "numbers"),
    [
        ("ARRIVAL", [4, 1, 3, 2]),
        ("REVERSE ARRIVAL", [2, 1, 3, 4]),  # 1 and 3 stay in the order of the mailbox
        ("CC", [2, 3, 1, 4]),  # the empty string is before others
        ("REVERSE CC", [1, 4, 2, 3]),
        ("DATE", [4, 2, 3, 1]),  # 00:00 UTC, 01:00 (internal), 11:30, 12:00
        ("REVERSE DATE", [1, 3, 2, 4]),
        ("FROM", [1, 2, 4, 3]),
        ("SIZE", [2, 3, 4, 1]),
        ("REVERSE SIZE", [1, 4, 2, 3]),
        ("SUBJECT", [2, 4, 1, 3]),
        ("REVERSE SUBJECT", [1, 3, 2, 4]),
        ("TO", [3, 4, 2, 1]),  # none, Friends, y, z
        ("DISPLAYFROM", [3, 2, 4, 1]),
        ("DISPLAYTO", [3, 2, 4, 1]),  # none, Éric, Friends, z@x
        ("SUBJECT DATE", [4, 2, 3, 1]),
        ("SUBJECT REVERSE DATE", [2, 4, 1, 3]),
        ("REVERSE SUBJECT REVERSE DATE", [1, 3, 2, 4]),
        ("SIZE SUBJECT", [2, 3, 4, 1]),
        ("SUBJECT REVERSE SUBJECT", [2, 4, 1, 3]),  # the second has nothing to decide
    ],
)
def test_criteria(criteria: str, numbers: list[int]) -> None:
    assert [at + 1 for at in sort(range(4), parsed(criteria), COLUMNS)] == numbers


def parsed(criteria: str) -> list[Criterion]:
    found = []
    reverse = False
    for word in criteria.split():
        if word != "REVERSE":
            found.append(Criterion(SortKey(word), reverse))
        reverse = word == "REVERSE"
    return found


def test_only_what_was_found_is_sorted() -> None:
    assert sort([0, 2], parsed("SUBJECT DATE"), COLUMNS) == [2, 0]
    assert sort([], parsed("SUBJECT"), COLUMNS) == []


VALUES = st.integers(0, 2)


@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12),
    st.lists(st.tuples(st.sampled_from([K.SIZE, K.ARRIVAL, K.DATE]), st.booleans()), max_size=4),
)
def test_it_is_a_comparison_of_each_criterion_in_turn(
    messages: list[tuple[int, int, int]], criteria: list[tuple[SortKey, bool]]
) -> None:
    columns: dict[SortKey, list[Any]] = {
        key: [message[at] for message in messages]
        for at, key in enumerate((K.SIZE, K.ARRIVAL, K.DATE))
    }

    def compare(one: int, other: int) -> int:
        for key, reverse in criteria:
            a, b = columns[key][one], columns[key][other]
            if a != b:
                return -1 if (a < b) != reverse else 1
        return one - other

    asked = [Criterion(*each) for each in criteria]
    found = sort(range(len(messages)), asked, columns)
    assert found == sorted(range(len(messages)), key=cmp_to_key(compare))
    # The same as one value for each message, which ends in what tells them apart.
    assert [rank[-1] for rank in sorted(ranks(range(len(messages)), asked, columns))] == found
