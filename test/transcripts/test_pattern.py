"""The comparison itself: a runner that forgives too much would prove nothing."""

from __future__ import annotations

import pytest

from .pattern import Line, evaluate
from .response import BadResponse, parse
from .runner import original_numbers, pieces

ENV = {"m": b"From: a\r\n\r\ntext", "n": b"7"}

SAME = [
    ("* 4 EXISTS", b"* 4 EXISTS"),
    ("* FLAGS (\\Seen a)", b"* FLAGS (A \\seen)"),
    ("* SEARCH 3 1", b"* SEARCH 1 3"),
    ("* SEARCH 1 {...}", b"* SEARCH 3 1 2"),
    ("a1 OK", b"a1 OK [READ-WRITE] done"),
    ("a1 {NO|BAD}", b"a1 BAD why"),
    ("a1 OK [COPYUID 1 1:3 4,5,6]", b"a1 OK [COPYUID 1 1,2,3 4:6] done"),
    ("* {n} EXISTS", b"* 7 EXISTS"),
    ("* {int>n} EXISTS", b"* 8 EXISTS"),
    ('* 1 FETCH (UID 7 BODY[] "x")', b"* 1 FETCH (BODY[] {1}\r\nx UID 7)"),
    ("* 1 FETCH (BODY[HEADER.FIELDS (TO)] NIL)", b'* 1 FETCH (BODY[HEADER.FIELDS ("To")] NIL)'),
    ("* 1 FETCH (BODY[] {m})", b"* 1 FETCH (UID 4 BODY[] {15}\r\nFrom: a\r\n\r\ntext)"),
    ("* 1 FETCH (FLAGS ())", b"* 1 FETCH (FLAGS (\\Recent))"),
    ('* LIST () "/" inbox', b'* LIST (\\HasNoChildren) "/" "INBOX"'),
    ('* ESEARCH (TAG "a") UID COUNT 3 ALL 1:3', b'* ESEARCH (TAG "a") UID ALL 1:3 COUNT 3'),
]

OTHER = [
    ("* 4 EXISTS", b"* 5 EXISTS"),
    ("* FLAGS (\\Seen)", b"* FLAGS (\\Seen x)"),
    ("* SEARCH 1", b"* SEARCH 1 3"),
    ("* SEARCH", b"* SEARCH 1"),
    ("a1 OK []", b"a1 OK [READ-WRITE] done"),
    ("a1 OK [READ-ONLY]", b"a1 OK [READ-WRITE] done"),
    ("a1 OK [READ-ONLY]", b"a1 OK done"),
    ("a1 OK", b"a2 OK done"),
    ("a1 OK [COPYUID 1 1:2 4:5]", b"a1 OK [COPYUID 1 1:2 5,4] done"),
    ("* {int>n} EXISTS", b"* 7 EXISTS"),
    ('* 1 FETCH (BODY[] "x")', b'* 1 FETCH (BODY[] "X")'),
    ('* 1 FETCH (BODY[] "")', b"* 1 FETCH (BODY[] NIL)"),
    ("* 1 FETCH (BODY[] NIL)", b'* 1 FETCH (BODY[] "NIL")'),
    ("* 1 FETCH (FLAGS ())", b"* 1 FETCH (FLAGS () BODY[] NIL)"),
    ("* 1 FETCH (FLAGS (\\Recent))", b"* 1 FETCH (FLAGS ())"),
    ("* 1 FETCH (FLAGS ({=Foo}))", b"* 1 FETCH (FLAGS (foo))"),
    ("* 1 FETCH (UID 1)", b"* 2 FETCH (UID 1)"),
    ('* LIST () "/" a', b'* LIST (\\Noselect) "/" a'),
    ('* LIST (\\Subscribed) "/" a', b'* LIST () "/" a'),
    ('* LIST () "/" a', b'* LIST () "/" A'),
    ('* ESEARCH (TAG "a") ALL 1', b'* ESEARCH (TAG "a") UID ALL 1'),
    ('* ESEARCH (TAG "a")', b'* ESEARCH (TAG "a") ALL 1'),
]


@pytest.mark.parametrize(("pattern", "raw"), SAME)
def test_same(pattern: str, raw: bytes) -> None:
    assert list(Line.parse(pattern).matches(parse(raw, utf8=False), ENV))


@pytest.mark.parametrize(("pattern", "raw"), OTHER)
def test_other(pattern: str, raw: bytes) -> None:
    assert not list(Line.parse(pattern).matches(parse(raw, utf8=False), ENV))


@pytest.mark.parametrize(
    "raw",
    [
        b"* 1 FETCH (UID  1)",
        b"* 1 FETCH (UID 1",
        b"* 1 FETCH (UID 1 )",
        b'* LIST () "/" "\xc3\xbc"',
        b'* LIST () "/" \xc3\xbc',
        b"* 1 FETCH (BODY[] {1}\r\n\0)",
        b"* 1 FETCH (FLAGS (a%b))",
        b'* 1 FETCH (BODY[] "a\\b")',
    ],
)
def test_no_imap(raw: bytes) -> None:
    with pytest.raises(BadResponse):
        parse(raw, utf8=False)


def test_captured_values_are_kept() -> None:
    (env,) = Line.parse("a1 OK [APPENDUID {v:int} {u:int}]").matches(
        parse(b"a1 OK [APPENDUID 9 4] done", utf8=False), {}
    )
    assert env == {"v": b"9", "u": b"4"}


def test_expressions() -> None:
    words = ("n+1", "#m", "m[0:4]", "m.header", "m.text")
    assert [evaluate(w, ENV) for w in words] == [b"8", b"15", b"From", b"From: a\r\n\r\n", b"text"]


def test_literals_wait_and_non_synchronizing_ones_do_not() -> None:
    got = pieces('a1 X {"ab"} {@n+} ~{"\\0"} {3*(} {x41} {5}', ENV)
    assert [(p.octets, p.wait) for p in got] == [
        (b"a1 X {2}\r\n", True),
        (b"ab {1+}\r\n7 ~{1}\r\n", True),
        (b"\0 ((( A {5}\r\n", False),
    ]


def test_expunges_are_counted_as_before_the_first() -> None:
    assert original_numbers([3, 3, 5, 8]) == [3, 4, 7, 11]  # RFC 9051 7.5.1's own example
    assert original_numbers([5, 4, 1]) == [5, 4, 1]
