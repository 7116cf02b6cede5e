"""What the protocol log shows: neither passwords nor messages, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.wire.trace import MAX_SHOWN, Trace

from .feed import octet_by_octet

SECRET = b"hunter2"


def received(text: bytes, hide: bool = False) -> str:
    (line,) = lines(lambda trace: trace.received(text, hide))
    assert line.startswith("C: ")
    return line[3:]


def sent(*pieces: bytes) -> list[str]:
    return lines(lambda trace: [trace.sent(piece) for piece in pieces])


def lines(talk) -> list[str]:
    shown: list[str] = []
    talk(Trace(lambda side, line: shown.append(f"{side} {line}")))
    return shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a NOOP\r\n", "a NOOP"),
        (b"a SELECT x\n", "a SELECT x"),
        (b"a SEARCH SUBJECT {3}\r\n FROM {1+}\r\n\r\n", "a SEARCH SUBJECT {3}...  FROM {1+}"),
        (b"a SELECT \xc3\xa4\r\n", "a SELECT ä"),
        (b"a SELECT \xff\r\n", "a SELECT \\xff"),
        (b"a LOGIN fred hunter2\r\n", "a LOGIN <secret>"),
        (b"a login {4}\r\n {7}\r\n\r\n", "a login <secret>"),
        (b"a AUTHENTICATE PLAIN hunter2\r\n", "a AUTHENTICATE <secret>"),
        (b"a authenticate SCRAM-SHA-256 hunter2\r\n", "a authenticate <secret>"),
    ],
)
def test_received(text: bytes, line: str) -> None:
    assert received(text) == line


@pytest.mark.parametrize(
    "line",
    [
        b"LOGIN fred hunter2",
        b"a  LOGIN fred hunter2",
        b"a LOGIN\thunter2",
        b"a LOGIN hunter2",
        b'a LOGIN "hunter2',
        b'a LOGIN fred "x" hunter2',
        b"a LOGIN {4}\r\n hunter2",
        b"a LOGIN {4}\n hunter2",
        b"a LOGIN \xff hunter2",
        b"a UID LOGIN fred hunter2",
        b"a AUTHENTICATE PLAIN\thunter2",
        b"a AUTHENTICATE PLAIN {3}\r\nhunter2",
        b"a AUTHENTICATE PLAIN\r\nhunter2",
        b"a AUTHENTICATE  PLAIN hunter2",
        b"a AUTHENTICATE (hunter2)",
        # A client that forgot the mechanism: rule 2 says nothing behind the command, well-formed
        # or not. To the parser these are mechanisms, so no BAD hides them either.
        b"a AUTHENTICATE hunter2",
        b"a AUTHENTICATE  hunter2==",
    ],
)
def test_secrets_are_not_shown(line: bytes) -> None:
    assert "hunter2" not in received(line + b"\r\n")


def test_sasl_response_out_of_place_is_not_shown() -> None:
    assert received(b"hunter2\r\n", hide=True) == "<hidden>"
    assert received(b"hunter2 LOGIN x\r\n", hide=True) == "<hidden>"


def test_tag_that_may_be_a_secret_is_hidden_in_the_answer() -> None:
    def talk(trace: Trace) -> None:
        trace.received(b"hunter2 x\r\n", hide=True)
        trace.sent(b"* 1 EXISTS\r\nhun")
        trace.sent(b"ter2 BAD Unknown command\r\n")
        trace.received(b"b NOOP\r\n")
        trace.sent(b"b OK Done\r\n")

    assert lines(talk) == [
        "C: <hidden>",
        "S: * 1 EXISTS",
        "S: <hidden> BAD Unknown command",
        "C: b NOOP",
        "S: b OK Done",
    ]


def test_a_very_long_hidden_tag_is_not_shown() -> None:
    def talk(trace: Trace) -> None:
        trace.received(SECRET * 1000 + b" x\r\n", hide=True)
        for piece in octet_by_octet(SECRET * 1000 + b" BAD Unknown command\r\n"):
            trace.sent(piece)

    assert "hunter2" not in "".join(lines(talk))


# -- what is sent --

ANSWER = (
    b"* 1 FETCH (UID 7 BODY[] {13}\r\nhunter2\r\n{3}\n FLAGS ())\r\n"
    b"* 2 FETCH (BINARY[1] ~{7}\r\nhunter2 BODY[2] {0}\r\n X {9}\r\nhunter2\r\n)\r\n"
    b"a OK Done\r\n"
)
SHOWN = [
    "S: * 1 FETCH (UID 7 BODY[] {13}...  FLAGS ())",
    "S: * 2 FETCH (BINARY[1] ~{7}...  BODY[2] {0}...  X {9}... )",
    "S: a OK Done",
]


def test_literals_are_not_shown() -> None:
    assert sent(ANSWER) == SHOWN
    assert sent(memoryview(ANSWER)) == SHOWN


@given(st.sets(st.integers(1, len(ANSWER) - 1)))
def test_pieces_make_no_difference(places: set[int]) -> None:
    ends = zip([0, *sorted(places)], [*sorted(places), len(ANSWER)], strict=True)
    assert sent(*(ANSWER[a:b] for a, b in ends)) == SHOWN


def test_literal_is_not_shown_where_its_announcement_was_cut() -> None:
    for at in range(len(ANSWER)):
        assert "hunter2" not in "".join(sent(ANSWER[:at], ANSWER[at:])), ANSWER[:at]


def test_long_lines_are_cut() -> None:
    long = b"* OK " + b"x" * 10_000
    assert len(received(long + b"\r\n")) == MAX_SHOWN
    for pieces in ([long + b"\r\n"], octet_by_octet(long + b"\r\n")):
        (line,) = sent(*pieces)
        assert len(line) == MAX_SHOWN + len("S: ")


def test_literal_behind_a_long_line_is_not_shown() -> None:
    long = b"* 1 FETCH (" + b"x" * 10_000 + b" {7}\r\nhunter2)\r\nb OK Done\r\n"
    for pieces in ([long], [long[:9000], long[9000:]]):
        shown = sent(*pieces)
        assert "hunter2" not in "".join(shown)
        assert shown[-1] == "S: b OK Done"


@pytest.mark.parametrize("text", [b"a X {0+}\n\nC: forged\r\n", b"a X\rC: forged\r\n"])
def test_a_client_cannot_forge_lines_of_the_log(text: bytes) -> None:
    assert len(received(text).splitlines()) == 1
