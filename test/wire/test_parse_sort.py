"""What each SORT and THREAD means: octets and what they ask for.   RFC 5256 5, RFC 5267 5, RFC 5957 5

The search keys are those of SEARCH, which test_parse_search.py has.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.wire import commands as c
from pymap.wire import search as k
from pymap.wire.connection import State
from pymap.wire.errors import Refused
from pymap.wire.search import Criterion, Returns, SearchReturn, SortKey
from pymap.wire.types import SEEN, SequenceSet

from .feed import bad, command, refusal, shown

K = SortKey
SORT_KEYS = [key for key in SortKey if key is not SortKey.RELEVANCY]  # which needs a FUZZY key
ALL = k.All()


def by(*keys: SortKey) -> tuple[Criterion, ...]:
    return tuple(map(Criterion, keys))


CRITERIA: list[tuple[bytes, tuple[Criterion, ...]]] = [
    *((b"(%b)" % key.value.encode(), (Criterion(key),)) for key in SORT_KEYS),
    *((b"(REVERSE %b)" % key.value.encode(), (Criterion(key, True),)) for key in SORT_KEYS),
    (b"(SUBJECT DATE)", by(K.SUBJECT, K.DATE)),
    (b"(SUBJECT REVERSE DATE)", (Criterion(K.SUBJECT), Criterion(K.DATE, True))),
    (b"(REVERSE SUBJECT REVERSE DATE)", (Criterion(K.SUBJECT, True), Criterion(K.DATE, True))),
    (b"(DATE DATE REVERSE DATE)", (*by(K.DATE, K.DATE), Criterion(K.DATE, True))),
]


@pytest.mark.parametrize(("octets", "criteria"), CRITERIA, ids=[shown(o) for o, _ in CRITERIA])
def test_criteria(octets: bytes, criteria: tuple[Criterion, ...]) -> None:
    assert command(b"a SORT %b UTF-8 ALL\r\n" % octets) == c.Sort("a", False, criteria, ALL)
    assert command(b"a UID SORT %b US-ASCII ALL\r\n" % octets) == c.Sort("a", True, criteria, ALL)
    assert command(b"a uid sort %b utf-8 all\n" % octets.lower()) == c.Sort(
        "a", True, criteria, ALL
    )


@pytest.mark.parametrize("algorithm", k.THREAD_ALGORITHMS)
def test_algorithm(algorithm: str) -> None:
    name = algorithm.encode()
    assert command(b"a THREAD %b UTF-8 ALL\r\n" % name) == c.Thread("a", False, algorithm, ALL)
    assert command(b"a uid thread %b utf-8 all\n" % name.lower()) == c.Thread(
        "a", True, algorithm, ALL
    )


KEYS: list[tuple[bytes, k.SearchKey]] = [
    (b"ALL", ALL),
    (b"ALL SEEN", k.And((ALL, k.HasFlag(SEEN)))),
    (b"(ALL SEEN)", k.And((ALL, k.HasFlag(SEEN)))),
    (b"2,4:*", k.Numbers(SequenceSet(((2, 2), (4, 0))), by_uid=False)),
    (b"UID 1", k.Numbers(SequenceSet(((1, 1),)), by_uid=True)),
    (b"$", k.Numbers(SequenceSet((), saved=True), by_uid=False)),
    (b'SUBJECT "x y"', k.Header("SUBJECT", "x y")),
    (b"SUBJECT {2}\r\n\xc3\xa4", k.Header("SUBJECT", "ä")),
    (b"OR TEXT {2+}\r\n\xc3\xa4 NOT ALL", k.Or(k.Text("ä"), k.Not(ALL))),
]


@pytest.mark.parametrize(("octets", "key"), KEYS, ids=[shown(o) for o, _ in KEYS])
def test_keys(octets: bytes, key: k.SearchKey) -> None:
    size = by(K.SIZE)
    for by_uid, uid in ((False, b""), (True, b"UID ")):
        assert command(b"a %bSORT (SIZE) UTF-8 %b\r\n" % (uid, octets)) == c.Sort(
            "a", by_uid, size, key
        )
        assert command(b"a %bTHREAD REFS UTF-8 %b\r\n" % (uid, octets)) == c.Thread(
            "a", by_uid, "REFS", key
        )


def test_modseq() -> None:
    """RFC 7162 3.1.9"""
    key = k.Not(k.ModSeq(7))
    assert command(b"a SORT (DATE) UTF-8 NOT MODSEQ 7\r\n") == c.Sort(
        "a", False, by(K.DATE), key, uses_modseq=True
    )
    assert command(b"a THREAD REFS UTF-8 NOT MODSEQ 7\r\n") == c.Thread(
        "a", False, "REFS", key, uses_modseq=True
    )


@pytest.mark.parametrize(
    ("octets", "options"),
    [
        (b"()", {SearchReturn.ALL}),
        (b"(MIN)", {SearchReturn.MIN}),
        (
            b"(min MAX Count ALL)",
            {SearchReturn.MIN, SearchReturn.MAX, SearchReturn.COUNT, SearchReturn.ALL},
        ),
        (b"(SAVE)", {SearchReturn.SAVE}),
        (b"(SAVE MAX)", {SearchReturn.SAVE, SearchReturn.MAX}),
    ],
)
def test_return(octets: bytes, options: set[SearchReturn]) -> None:
    """RFC 5267 3"""
    value = c.Sort("a", True, by(K.DATE), ALL, Returns(frozenset(options)))
    assert command(b"a UID SORT RETURN %b (DATE) UTF-8 ALL\r\n" % octets) == value
    assert command(b"a uid sort return %b (DATE) UTF-8 ALL\r\n" % octets) == value


CHARSETS = [
    (b"UTF-8", b"\xc3\xa4", "ä"),
    (b'"utf-8"', b"\xc3\xa4", "ä"),
    (b"US-ASCII", b"a", "a"),
    (b"ISO-8859-1", b"\xe4", "ä"),
    (b"KOI8-R", b"\xc1", "а"),
]


@pytest.mark.parametrize(("charset", "raw", "text"), CHARSETS)
def test_charset(charset: bytes, raw: bytes, text: str) -> None:
    keys = b"%b SUBJECT {%d}\r\n%b\r\n" % (charset, len(raw), raw)
    sort, thread = command(b"a SORT (CC) " + keys), command(b"a THREAD REFS " + keys)
    assert isinstance(sort, c.Sort)
    assert isinstance(thread, c.Thread)
    assert sort.key == thread.key == k.Header("SUBJECT", text)


@pytest.mark.parametrize("before", [b"SORT (DATE)", b"UID SORT RETURN () (DATE)", b"THREAD REFS"])
@pytest.mark.parametrize("charset", [b"nope", b'""', b"rot13", b"\xc3\xa4", b"ALL"])
def test_unknown_charset(before: bytes, charset: bytes) -> None:
    refused = refusal(b"a %b %b SUBJECT x\r\n" % (before, charset)).error
    assert isinstance(refused, Refused)
    assert refused.code == "BADCHARSET (US-ASCII UTF-8)"
    assert not refused.empties_result


@pytest.mark.parametrize("name", [b"SEARCH", b"UID SEARCH", b"SORT", b"UID SORT"])
@pytest.mark.parametrize("options", [b"SAVE", b"MIN SAVE", b"ALL"])
@pytest.mark.parametrize("rest", [b"nope ALL", b"UTF-8" + b" ALL" * 10_001, b"UTF-8 " + b"(" * 102])
def test_a_no_empties_the_result_that_was_to_be_saved(
    name: bytes, options: bytes, rest: bytes
) -> None:
    """RFC 5182 2.1: whatever it is for."""
    before = b"(DATE)" if name.endswith(b"SORT") else b"CHARSET"
    refused = refusal(b"a %b RETURN (%b) %b %b\r\n" % (name, options, before, rest)).error
    assert isinstance(refused, Refused)
    assert refused.empties_result == (b"SAVE" in options)


BAD_SORT = [
    b"", b" ", b" UTF-8 ALL", b" DATE UTF-8 ALL", b" () UTF-8 ALL", b" (DATE)", b" (DATE) ",
    b" (DATE) UTF-8", b" (DATE) UTF-8 ", b" (NONSENSE) UTF-8 ALL", b" (REVERSE) UTF-8 ALL",
    b" (REVERSE REVERSE DATE) UTF-8 ALL", b" (DATE REVERSE) UTF-8 ALL", b" (REVERSE  DATE) UTF-8 ALL",
    b" (DATE UTF-8 ALL", b" (DATE UTF-8) ALL", b" (DATE)UTF-8 ALL", b"(DATE) UTF-8 ALL",
    b" ( DATE) UTF-8 ALL", b" (DATE ) UTF-8 ALL", b" (DATE  SIZE) UTF-8 ALL", b" (DATE)  UTF-8 ALL",
    b" (DATE) UTF-8  ALL", b" (DATE,SIZE) UTF-8 ALL", b" (DATE(SIZE)) UTF-8 ALL",
    b' ("DATE") UTF-8 ALL', b" ({4+}\r\nDATE) UTF-8 ALL", b" {6+}\r\n(DATE) UTF-8 ALL",
    b" (DATE) (UTF-8) ALL", b" (DATE) UTF-8 NONSENSE", b" (DATE) UTF-8 (DATE)", b" (DATE) UTF-8 0",
    b" (DATE) UTF-8 ALL)", b" (DATE) UTF-8 SUBJECT {1+}\r\n\xff",
    b" (DATE) US-ASCII SUBJECT {2+}\r\n\xc3\xa4", b" (DISPLAYCC) UTF-8 ALL", b" (BCC) UTF-8 ALL",
    b" RETURN", b" RETURN (MIN)", b" RETURN (MIN) UTF-8 ALL", b" RETURN MIN (DATE) UTF-8 ALL",
    b" RETURN (NONSENSE) (DATE) UTF-8 ALL", b" RETURN (MIN)(DATE) UTF-8 ALL", b" RETURN(MIN) (DATE) UTF-8 ALL",
    b" RETURN (MIN) RETURN (MAX) (DATE) UTF-8 ALL", b" RETURN (SAVE) (NONSENSE) UTF-8 ALL",
    b" (\xc3\xa4) UTF-8 ALL", b" (DATE\0) UTF-8 ALL",
]  # fmt: skip


@pytest.mark.parametrize("octets", BAD_SORT)
def test_bad_sort(octets: bytes) -> None:
    assert bad(b"a SORT%b\r\n" % octets) == "a"
    assert bad(b"a UID SORT%b\r\n" % octets) == "a"


BAD_THREAD = [
    b"", b" ", b" UTF-8 ALL", b" REFERENCES", b" REFERENCES UTF-8", b" REFERENCES UTF-8 ",
    b" NONSENSE UTF-8 ALL", b" (REFERENCES) UTF-8 ALL", b' "REFERENCES" UTF-8 ALL',
    b" {4+}\r\nREFS UTF-8 ALL", b" REFERENCES  UTF-8 ALL", b"  REFERENCES UTF-8 ALL",
    b" REFERENCES UTF-8  ALL", b" REFERENCES UTF-8 NONSENSE", b" REFERENCES UTF-8 ALL)",
    b" REFERENCES (UTF-8) ALL", b" RETURN (ALL) REFERENCES UTF-8 ALL", b" REFS,REFERENCES UTF-8 ALL",
    b" REFERENCES UTF-8 SUBJECT {1+}\r\n\xff", b" \xc3\xa4 UTF-8 ALL",
]  # fmt: skip


@pytest.mark.parametrize("octets", BAD_THREAD)
def test_bad_thread(octets: bytes) -> None:
    assert bad(b"a THREAD%b\r\n" % octets) == "a"
    assert bad(b"a UID THREAD%b\r\n" % octets) == "a"


@pytest.mark.parametrize("octets", [b"SORT (DATE) UTF-8 ALL", b"THREAD REFERENCES UTF-8 ALL"])
@pytest.mark.parametrize("state", [State.NOT_AUTHENTICATED, State.AUTHENTICATED])
def test_only_with_a_mailbox(octets: bytes, state: State) -> None:
    assert bad(b"a %b\r\n" % octets, state) == "a"
    assert bad(b"a UID %b\r\n" % octets, state) == "a"


# -- limits --


def limited(octets: bytes, **limits: int) -> bool:
    error = refusal(b"a %b\r\n" % octets, **limits).error
    return isinstance(error, Refused) and error.code == "LIMIT"


def test_criteria_are_limited_as_search_keys_are() -> None:
    command(b"a SORT (CC TO REVERSE CC) UTF-8 ALL\r\n", search_keys=3)
    assert limited(b"SORT (CC TO CC TO) UTF-8 ALL", search_keys=3)
    assert limited(b"UID SORT RETURN (MIN) (REVERSE CC REVERSE TO) UTF-8 ALL", search_keys=1)
    assert limited(b"SORT (CC" + b" REVERSE CC" * 10_000 + b") UTF-8 ALL")


@pytest.mark.parametrize("octets", [b"SORT (DATE)", b"UID SORT (DATE)", b"THREAD REFS"])
def test_search_keys_are_limited(octets: bytes) -> None:
    command(b"a %b UTF-8 ALL ALL ALL\r\n" % octets, search_keys=3)
    assert limited(octets + b" UTF-8 ALL ALL ALL ALL", search_keys=3)
    assert limited(octets + b" UTF-8 OR ALL OR ALL ALL", search_keys=3)
    assert limited(octets + b" UTF-8 " + b"(" * 100_000)
    assert limited(octets + b" UTF-8 " + b"NOT " * 100_000)


@given(st.lists(st.tuples(st.sampled_from(SORT_KEYS), st.booleans()), min_size=1, max_size=20))
def test_any_criteria(criteria: list[tuple[SortKey, bool]]) -> None:
    words = " ".join("REVERSE " * reverse + key.value for key, reverse in criteria)
    found = command(b"a SORT (%b) UTF-8 ALL\r\n" % words.encode())
    assert found == c.Sort("a", False, tuple(Criterion(*each) for each in criteria), ALL)
