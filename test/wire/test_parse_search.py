"""What each SEARCH means: octets and the tree they are."""

from __future__ import annotations

import encodings
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.wire import commands as c
from pymap.wire import search as k
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.search import Compare, DateKey, Partial, Returns, SearchReturn, SortKey
from pymap.wire.types import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, Flag, SequenceSet

from .feed import bad, command, refusal, shown


def numbers(*ranges: tuple[int, int], by_uid: bool = False) -> k.Numbers:
    return k.Numbers(SequenceSet(ranges), by_uid)


def day(year: int, month: int, day: int) -> int:
    return (date(year, month, day) - date(1970, 1, 1)).days


FEB_1 = day(1994, 2, 1)
SAVED = SequenceSet((), saved=True)
SEEN_, ANSWERED_ = k.HasFlag(SEEN), k.HasFlag(ANSWERED)

KEYS: list[tuple[bytes, k.SearchKey]] = [
    # sequence-set; RFC 9051 6.4.4, RFC 5182 2.1 for $
    (b"1", numbers((1, 1))),
    (b"2,4:7,9,12:*", numbers((2, 2), (4, 7), (9, 9), (12, 0))),
    (b"*", numbers((0, 0))),
    (b"*:4", numbers((0, 4))),
    (b"$", k.Numbers(SAVED, by_uid=False)),
    # RFC 9738 3.2
    (b"UIDAFTER 3", numbers((4, 4294967295), by_uid=True)),
    (b"UIDAFTER 0", numbers((1, 4294967295), by_uid=True)),
    (b"UIDAFTER 4294967295", numbers(by_uid=True)),
    (b"UIDBEFORE 3", numbers((1, 2), by_uid=True)),
    (b"UIDBEFORE 1", numbers(by_uid=True)),
    (b"UID 1:3,4294967295", numbers((1, 3), (4294967295, 4294967295), by_uid=True)),
    (b"UID $", k.Numbers(SAVED, by_uid=True)),
    # Flags; RECENT, NEW and OLD are RFC 3501 6.4.4
    (b"ALL", k.All()),
    (b"ANSWERED", ANSWERED_),
    (b"DELETED", k.HasFlag(DELETED)),
    (b"DRAFT", k.HasFlag(DRAFT)),
    (b"FLAGGED", k.HasFlag(FLAGGED)),
    (b"SEEN", SEEN_),
    (b"UNANSWERED", k.Not(ANSWERED_)),
    (b"UNDELETED", k.Not(k.HasFlag(DELETED))),
    (b"UNDRAFT", k.Not(k.HasFlag(DRAFT))),
    (b"UNFLAGGED", k.Not(k.HasFlag(FLAGGED))),
    (b"UNSEEN", k.Not(SEEN_)),
    (b"RECENT", k.Recent()),
    (b"OLD", k.Not(k.Recent())),
    (b"NEW", k.And((k.Recent(), k.Not(SEEN_)))),
    (b"KEYWORD $Junk", k.HasFlag(Flag("$Junk"))),
    (b"UNKEYWORD $Junk", k.Not(k.HasFlag(Flag("$Junk")))),
    # Texts, as atom, quoted and literal
    (b"BCC x", k.Header("BCC", "x")),
    (b"CC x", k.Header("CC", "x")),
    (b'FROM "Smith, \\"J\\""', k.Header("FROM", 'Smith, "J"')),
    (b"TO {3}\r\na b", k.Header("TO", "a b")),
    (b"SUBJECT {4+}\r\nx\r\ny", k.Header("SUBJECT", "x\r\ny")),
    (b'SUBJECT ""', k.Header("SUBJECT", "")),
    (b"SUBJECT NIL", k.Header("SUBJECT", "NIL")),
    (b"SUBJECT ALL", k.Header("SUBJECT", "ALL")),
    (b"BODY x", k.InBody("x")),
    (b"TEXT \xc3\xa4", k.Text("ä")),
    (b'TEXT "\xc3\xa4"', k.Text("ä")),
    (b"HEADER X-Spam yes", k.Header("X-Spam", "yes")),
    (b'HEADER "List-Id" ""', k.Header("List-Id", "")),
    (b"HEADER {2}\r\nTo {1+}\r\nx", k.Header("To", "x")),
    # Dates
    (b"BEFORE 1-Feb-1994", k.Date(DateKey.INTERNAL, Compare.BEFORE, FEB_1)),
    (b"ON 01-fEB-1994", k.Date(DateKey.INTERNAL, Compare.ON, FEB_1)),
    (b'SINCE "1-Feb-1994"', k.Date(DateKey.INTERNAL, Compare.SINCE, FEB_1)),
    (b"SENTBEFORE 1-Feb-1994", k.Date(DateKey.SENT, Compare.BEFORE, FEB_1)),
    (b"SENTON 1-Feb-1994", k.Date(DateKey.SENT, Compare.ON, FEB_1)),
    (b"SENTSINCE 1-Feb-1994", k.Date(DateKey.SENT, Compare.SINCE, FEB_1)),
    (b"ON 29-Feb-2000", k.Date(DateKey.INTERNAL, Compare.ON, day(2000, 2, 29))),
    (b"ON 1-Jan-0001", k.Date(DateKey.INTERNAL, Compare.ON, day(1, 1, 1))),
    (b"ON 31-Dec-9999", k.Date(DateKey.INTERNAL, Compare.ON, day(9999, 12, 31))),
    # SAVEDATE.   RFC 8514 4.3
    (b"SAVEDBEFORE 1-Feb-1994", k.Date(DateKey.SAVED, Compare.BEFORE, FEB_1)),
    (b"SAVEDON 1-Feb-1994", k.Date(DateKey.SAVED, Compare.ON, FEB_1)),
    (b"SAVEDSINCE 1-Feb-1994", k.Date(DateKey.SAVED, Compare.SINCE, FEB_1)),
    (b"SAVEDATESUPPORTED", k.All(saved_dates=True)),
    # Sizes: number64
    (b"LARGER 0", k.Size(0, larger=True)),
    (b"SMALLER 9223372036854775807", k.Size((1 << 63) - 1, larger=False)),
    # WITHIN.   RFC 5032 3
    (b"OLDER 259200", k.Within(259200, older=True)),
    (b"YOUNGER 1", k.Within(1, older=False)),
    # OBJECTID.   RFC 8474 6
    (b"EMAILID M6d99ac3275bb4e", k.EmailId("M6d99ac3275bb4e")),
    (b"THREADID T-_9", k.ThreadId("T-_9")),
    # FILTERS.   RFC 5466 4
    (b"FILTER on-the-road", k.Filter("on-the-road")),
    (b"FILTER }x", k.Filter("}x")),
    # Combined
    (b"NOT SEEN", k.Not(SEEN_)),
    (b"NOT NOT SEEN", k.Not(k.Not(SEEN_))),
    (b"OR SEEN ANSWERED", k.Or(SEEN_, ANSWERED_)),
    (b"OR OR SEEN ALL NOT ANSWERED", k.Or(k.Or(SEEN_, k.All()), k.Not(ANSWERED_))),
    (b"(SEEN)", SEEN_),
    (b"((SEEN) (ANSWERED ALL))", k.And((SEEN_, k.And((ANSWERED_, k.All()))))),
    (b"NOT (SEEN 1)", k.Not(k.And((SEEN_, numbers((1, 1)))))),
    (b"OR (SEEN ALL) ANSWERED", k.Or(k.And((SEEN_, k.All())), ANSWERED_)),
    (b"SEEN 1:2 UID 3", k.And((SEEN_, numbers((1, 2)), numbers((3, 3), by_uid=True)))),
    (b'FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"',  # RFC 9051 6.4.4
     k.And((k.HasFlag(FLAGGED), k.Date(DateKey.INTERNAL, Compare.SINCE, FEB_1),
            k.Not(k.Header("FROM", "Smith"))))),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "key"), KEYS, ids=[shown(o) for o, _ in KEYS])
def test_key(octets: bytes, key: k.SearchKey) -> None:
    assert command(b"a SEARCH %b\r\n" % octets) == c.Search("a", False, key)
    assert command(b"a uid search %b\r\n" % octets) == c.Search("a", True, key)
    assert command(b"a SEARCH NOT (%b)\r\n" % octets) == c.Search("a", False, k.Not(key))
    if b" " not in octets:
        assert command(b"a SEARCH %b\n" % octets.lower()) == c.Search("a", False, key)


@pytest.mark.parametrize(
    "octets",
    [b"MODSEQ 620162338", b'MODSEQ "/flags/\\\\draft" all 620162338',
     b'modseq "/flags/\\\\Seen" PRIV 620162338', b'MODSEQ "/flags/x" shared 620162338'],
)  # fmt: skip
def test_modseq(octets: bytes) -> None:
    """RFC 7162 3.1.5"""
    key = k.ModSeq(620162338)
    assert command(b"a SEARCH %b\r\n" % octets) == c.Search("a", False, key, uses_modseq=True)
    inside = command(b"a SEARCH OR SEEN (NOT %b)\r\n" % octets)
    assert inside == c.Search("a", False, k.Or(SEEN_, k.Not(key)), uses_modseq=True)


MIN, MAX, ALL = SearchReturn.MIN, SearchReturn.MAX, SearchReturn.ALL
COUNT, SAVE = SearchReturn.COUNT, SearchReturn.SAVE


@pytest.mark.parametrize(
    ("octets", "options"),
    [
        (b"()", {ALL}),
        (b"(MIN)", {MIN}),
        (b"(min Max all COUNT)", {MIN, MAX, ALL, COUNT}),
        (b"(COUNT COUNT)", {COUNT}),
        (b"(SAVE)", {SAVE}),  # RFC 5182 2.1
        (b"(SAVE MIN)", {SAVE, MIN}),
    ],
)
def test_return(octets: bytes, options: set[SearchReturn]) -> None:
    """RFC 4731 3.1"""
    returns = Returns(frozenset(options))
    value = c.Search("a", False, SEEN_, returns)
    assert command(b"a SEARCH RETURN %b SEEN\r\n" % octets) == value
    assert command(b"a SEARCH return %b CHARSET UTF-8 SEEN\r\n" % octets) == c.Search(
        "a", False, SEEN_, returns, names_charset=True
    )


@pytest.mark.parametrize(
    ("octets", "options", "partial"),
    [
        (b"(PARTIAL 1:500)", set(), Partial(1, 500)),
        (b"(partial 500:400)", set(), Partial(500, 400)),
        (b"(PARTIAL -1:-100)", set(), Partial(1, 100, from_end=True)),
        (b"(MIN PARTIAL 7:7 COUNT)", {MIN, COUNT}, Partial(7, 7)),
        (b"(SAVE PARTIAL 1:4294967295)", {SAVE}, Partial(1, 4294967295)),
    ],
)
def test_partial(octets: bytes, options: set[SearchReturn], partial: Partial) -> None:
    """RFC 9394 4; the range is told as it was written"""
    returns = Returns(frozenset(options | {SearchReturn.PARTIAL}), partial)
    assert command(b"a SEARCH RETURN %b SEEN\r\n" % octets) == c.Search("a", False, SEEN_, returns)
    assert str(partial).encode() in octets


@pytest.mark.parametrize(
    "octets",
    [b"(PARTIAL)", b"(PARTIAL 1)", b"(PARTIAL 0:1)", b"(PARTIAL 1:0)", b"(PARTIAL 1:*)",
     b"(PARTIAL -1:1)", b"(PARTIAL 1:-1)", b"(PARTIAL -0:-1)", b"(PARTIAL 1:4294967296)",
     b"(PARTIAL 1,2)", b"(PARTIAL 1:2,4)", b"(PARTIAL  1:2)", b"(PARTIAL 1:2MIN)",
     # one PARTIAL, one ALL, or neither   RFC 9394 3.1
     b"(ALL PARTIAL 1:2)", b"(PARTIAL 1:2 ALL)", b"(PARTIAL 1:2 PARTIAL 1:2)"],
)  # fmt: skip
def test_no_partial(octets: bytes) -> None:
    bad(b"a SEARCH RETURN %b SEEN\r\n" % octets)


@pytest.mark.parametrize(
    ("partial", "count", "found"),
    [
        (Partial(1, 3), 5, [0, 1, 2]), (Partial(3, 1), 5, [0, 1, 2]), (Partial(4, 9), 5, [3, 4]),
        (Partial(6, 9), 5, []), (Partial(1, 3, True), 5, [2, 3, 4]), (Partial(4, 9, True), 5, [0, 1]),
        (Partial(5, 5, True), 5, [0]), (Partial(6, 7, True), 5, []), (Partial(1, 1, True), 0, []),
        (Partial(1, 1), 0, []),
    ],
)  # fmt: skip
def test_which_results_are_in_a_range(partial: Partial, count: int, found: list[int]) -> None:
    assert [*range(count)][partial.of(count)] == found


def test_update_and_context() -> None:
    """RFC 5267 5"""
    options = {SearchReturn.UPDATE, SearchReturn.CONTEXT, COUNT}
    assert command(b"a UID SEARCH RETURN (UPDATE context COUNT) SEEN\r\n") == c.Search(
        "a", True, SEEN_, Returns(frozenset(options))
    )
    fetch = (c.FetchItem(c.FetchAttribute.UID), c.FetchItem(c.FetchAttribute.FLAGS))
    for octets in (b"(UPDATE (UID FLAGS) COUNT)", b"(COUNT update(UID FLAGS))"):
        returns = Returns(frozenset({SearchReturn.UPDATE, COUNT}), fetch=fetch)  # RFC 5465 7, 8
        assert command(b"a SEARCH RETURN %b SEEN\r\n" % octets) == c.Search(
            "a", False, SEEN_, returns
        )
    bad(b"a SEARCH RETURN (UPDATE ()) SEEN\r\n")
    bad(b"a SEARCH RETURN (COUNT (UID)) SEEN\r\n")
    assert command(b'a CANCELUPDATE "b1" "b2"\r\n') == c.CancelUpdate("a", ("b1", "b2"))
    bad(b"a CANCELUPDATE\r\n")


def test_fuzzy() -> None:
    """RFC 6203 7"""
    key = k.Fuzzy(k.And((k.Header("SUBJECT", "x"), SEEN_)))
    assert command(b"a SEARCH fuzzy (SUBJECT x SEEN)\r\n") == c.Search("a", False, key)
    returns = Returns(frozenset((SearchReturn.RELEVANCY, ALL)))
    assert command(b"a SEARCH RETURN (RELEVANCY ALL) NOT FUZZY SEEN\r\n") == c.Search(
        "a", False, k.Not(k.Fuzzy(SEEN_)), returns
    )
    assert command(b"a SORT (RELEVANCY) UTF-8 FUZZY SEEN\r\n") == c.Sort(
        "a", False, (k.Criterion(SortKey.RELEVANCY),), k.Fuzzy(SEEN_)
    )


@pytest.mark.parametrize(
    "octets",
    [b"SEARCH RETURN (RELEVANCY) SEEN", b"SORT (RELEVANCY) UTF-8 SEEN", b"SEARCH FUZZY",
     b"SORT RETURN (RELEVANCY) (DATE) UTF-8 SEEN", b"ESEARCH RETURN (RELEVANCY) SEEN"],
)  # fmt: skip
def test_relevancy_needs_a_fuzzy_key(octets: bytes) -> None:
    """RFC 6203 4, 6"""
    bad(b"a %b\r\n" % octets)


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        (b"UTF-8", b"\xc3\xa4", "ä"),
        (b'"utf-8"', b"\xc3\xa4", "ä"),
        (b"{5+}\r\nUTF-8", b"\xc3\xa4", "ä"),
        (b"US-ASCII", b"a", "a"),
        (b"ISO-8859-1", b"\xe4", "ä"),
        (b"KOI8-R", b"\xc1", "а"),
        (b"iso-2022-jp", b"\x1b$B$\"\x1b(B", "あ"),
    ],
)  # fmt: skip
def test_charset(charset: bytes, raw: bytes, text: str) -> None:
    octets = b"a SEARCH CHARSET %b SUBJECT {%d}\r\n%b\r\n" % (charset, len(raw), raw)
    key = k.Header("SUBJECT", text)
    assert command(octets) == c.Search("a", False, key, names_charset=True)


NO_CHARSETS = [b"nope", b'""', b"rot13", b"base64", b"zlib", b"idna", b"punycode", b"unicode_escape",
               b"raw_unicode_escape", b"undefined", b"\xc3\xa4", b"aliases", b"../x", b"."]  # fmt: skip


@pytest.mark.parametrize("charset", NO_CHARSETS)
def test_unknown_charset(charset: bytes) -> None:
    refused = refusal(b"a SEARCH CHARSET %b TEXT x\r\n" % charset).error
    assert isinstance(refused, Refused)
    assert refused.code == "BADCHARSET (US-ASCII UTF-8)"
    assert not refused.empties_result


def test_unknown_charset_empties_the_result_that_was_to_be_saved() -> None:
    """RFC 5182 2.1"""
    refused = refusal(b"a SEARCH RETURN (SAVE) CHARSET nope ALL\r\n").error
    assert isinstance(refused, Refused)
    assert refused.empties_result


def test_unknown_charsets_leave_nothing_behind() -> None:
    """Python remembers every name that codecs.lookup did not find, for ever and whatever its size."""
    before = len(encodings._cache)
    for at in range(20):
        refusal(b"a SEARCH CHARSET never-heard-of-%d ALL\r\n" % at)
    assert len(encodings._cache) == before


@given(st.sampled_from(sorted(set(encodings.aliases.aliases.values()))), st.binary(max_size=20))
def test_text_in_any_charset_is_taken_or_refused(charset: str, raw: bytes) -> None:
    octets = b"a SEARCH CHARSET %b TEXT {%d+}\r\n%b\r\n" % (charset.encode(), len(raw), raw)
    try:
        command(octets)
    except AssertionError:
        assert isinstance(refusal(octets).error, BadCommand | Refused)


BAD = [
    b"", b" ", b" FOO", b"  ALL", b" ALL  SEEN", b" ()", b" (ALL", b" ALL)", b" (ALL )", b" ( ALL)",
    b" (ALL)SEEN", b" ALLSEEN", b" NOT", b" NOT ", b" OR SEEN", b" OR SEEN ", b" OR (SEEN ALL)",
    b" 0", b" 1:", b" 1,", b" 1,,2", b" 4294967296", b" 1:0", b" $,1", b" UID", b" UID 0", b" UID x",
    b" KEYWORD", b" KEYWORD \\Seen", b" KEYWORD (a)", b' KEYWORD "a"',
    b" FROM", b" FROM ", b' FROM "x', b" FROM (x)", b" HEADER x", b" HEADER x ", b" TEXT {1+}\r\n\0",
    b" TEXT \xff", b" CHARSET US-ASCII TEXT \xc3\xa4", b" CHARSET UTF-8", b" CHARSET UTF-8 ",
    b" CHARSET", b" ALL CHARSET UTF-8",
    b" ON", b" ON 30-Feb-2000", b" ON 29-Feb-1900", b" ON 0-Jan-2000", b" ON 1-Foo-2000",
    b" ON 1-Jan-00", b" ON 1-Jan-0000", b' ON "1-Jan-2000', b' ON 1-Jan-2000"', b" ON  1-Jan-2000",
    b" ON 2000-01-01", b" LARGER", b" LARGER -1", b" LARGER x", b" SMALLER 9223372036854775808",
    b" OLDER 0", b" YOUNGER 0", b" OLDER 4294967296", b" EMAILID", b' EMAILID ""', b" THREADID",
    b" MODSEQ", b" MODSEQ x", b" MODSEQ 9223372036854775808", b' MODSEQ "/flags/x" 1',
    b' MODSEQ "/flags/x" foo 1', b' MODSEQ "/flags/x" all',
    b" RETURN (FOO) ALL", b" RETURN (MIN", b" RETURN (MIN ) ALL", b" RETURN ( MIN) ALL",
    b" RETURN (MIN)", b" RETURN (MIN)ALL", b" RETURN MIN ALL", b" RETURN", b" CHARSET UTF-8 RETURN () ALL",
    b" SEEN,ALL", b' "SEEN"', b" {4+}\r\nSEEN", b" NOT(SEEN)", b" OR SEEN  ALL", b" (SEEN)(ALL)",
    b" 1 ,2", b" UID (1)", b" KEYWORD x]y", b" FROM x%y", b" FROM {1+}\r\n\xff", b" HEADER (x) y",
    b" LARGER 99999999999999999999999", b" SMALLER 1.5", b" MODSEQ /flags/x all 1",
    b' MODSEQ "/flags/\\draft" all 1', b" EMAILID (M1)", b" SAVEDATESUPPORTED x",
    b" RETURN (MIN) RETURN (MAX) ALL", b" CHARSET (UTF-8) ALL", b" CHARSET UTF-8 CHARSET UTF-8 ALL",
    b" CHARSET UTF-8 TEXT {1+}\r\n\xe4",
]  # fmt: skip


@pytest.mark.parametrize("octets", BAD)
def test_bad(octets: bytes) -> None:
    assert bad(b"a SEARCH%b\r\n" % octets) == "a"


# -- date --

DATES = [
    (b"1-Jan-1970", day(1970, 1, 1)),
    (b"31-Dec-1969", day(1969, 12, 31)),
    (b"29-Feb-2000", day(2000, 2, 29)),  # a leap century
    (b"29-Feb-2024", day(2024, 2, 29)),
    (b"28-Feb-1900", day(1900, 2, 28)),
    (b"01-Jan-0001", day(1, 1, 1)),
    (b"31-Dec-9999", day(9999, 12, 31)),
    *(
        (b"%d-%b-2023" % (last, name), day(2023, month, last))
        for month, (name, last) in enumerate(
            zip(
                b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(),
                (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
                strict=True,
            ),
            1,
        )
    ),
]
NO_DATES = [
    b"0-Jan-2023",
    b"00-Jan-2023",
    b"32-Jan-2023",
    b"29-Feb-2023",
    b"30-Feb-2024",
    b"29-Feb-1900",
    b"29-Feb-2100",
    b"31-Apr-2023",
    b"31-Jun-2023",
    b"31-Sep-2023",
    b"31-Nov-2023",
    b"001-Jan-2023",
    b"1-Jan-23",
    b"1-Jan-02023",
    b"1-Jan-0000",
    b"1-1-2023",
    b"1-January-2023",
    b"1-Xyz-2023",
    b"Jan-1-2023",
    b"2023-01-01",
    b"1 Jan 2023",
    b"-Jan-2023",
    b" 1-Jan-2023",
    b'" 1-Jan-2023"',
    b'"1-Jan-2023',
    b'1-Jan-2023"',
    b'""1-Jan-2023""',
    b"{10+}\r\n1-Jan-2023",
    b"(1-Jan-2023)",
    b'" 1-Jan-2023 00:00:00 +0000"',
]


@pytest.mark.parametrize(("octets", "value"), DATES)
def test_date(octets: bytes, value: int) -> None:
    key = k.Date(DateKey.INTERNAL, Compare.ON, value)
    for form in (octets, b'"%b"' % octets, octets.upper(), octets.lower()):
        assert command(b"a SEARCH ON %b\r\n" % form) == c.Search("a", False, key)


@pytest.mark.parametrize("octets", NO_DATES)
def test_no_date(octets: bytes) -> None:
    for name in (b"ON", b"SENTSINCE", b"SAVEDBEFORE"):
        bad(b"a SEARCH %b %b\r\n" % (name, octets))


# -- limits --


def limited(octets: bytes, **limits: int) -> bool:
    error = refusal(b"a SEARCH %b\r\n" % octets, **limits).error
    return isinstance(error, Refused) and error.code == "LIMIT"


def test_search_keys_limit() -> None:
    command(b"a SEARCH ALL ALL ALL\r\n", search_keys=3)
    assert limited(b"ALL ALL ALL ALL", search_keys=3)
    assert limited(b"(ALL ALL ALL)", search_keys=3)
    assert limited(b"OR ALL OR ALL ALL", search_keys=3)


@pytest.mark.parametrize("nest", [b"(%b)", b"NOT %b", b"OR %b SEEN", b"OR SEEN %b"])
def test_search_depth_limit(nest: bytes) -> None:
    octets = b"ALL"
    for _ in range(100):
        octets = nest % octets
    command(b"a SEARCH %b\r\n" % octets)
    assert limited(nest % octets)


def test_nesting_without_end_is_refused() -> None:
    assert limited(b"(" * 100_000)
    assert limited(b"NOT " * 100_000)
