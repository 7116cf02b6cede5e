"""Where commands begin and end, and what each limit does, however the octets arrive."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.limits import Limits
from pymap.wire.framer import Event, Frame, Framer, Overflow, TooBig

from .feed import octet_by_octet, shown

GO_ON = Event.CONTINUE


def framer(authenticated: bool = True, **limits: int) -> Framer:
    made = Framer(Limits(**limits))
    made.authenticated = authenticated
    return made


def cut(octets: bytes, authenticated: bool = True, **limits: int) -> list[object]:
    """What the framer makes of `octets`: the same whether they come at once or one by one."""
    whole = said(framer(authenticated, **limits), [octets])
    assert whole == said(framer(authenticated, **limits), octet_by_octet(octets))
    return whole


def said(to: Framer, pieces: list[bytes]) -> list[object]:
    found: list[object] = []
    for piece in pieces:
        to.receive_data(piece)
        while (event := to.next()) is not None:
            found.append(event)
            if isinstance(event, Overflow):
                return found
    return found


FRAMES: list[tuple[bytes, list[object]]] = [
    (b"", []),
    (b"a", []),
    (b"a NOOP\r", []),
    (b"\r\n", [Frame(b"\r\n", [])]),
    (b"a NOOP\r\n", [Frame(b"a NOOP\r\n", [])]),
    (b"a NOOP\n", [Frame(b"a NOOP\n", [])]),
    (b"a\rb\n", [Frame(b"a\rb\n", [])]),
    # pipelined, the last one not whole
    (b"a NOOP\r\nb NOOP\nc NO", [Frame(b"a NOOP\r\n", []), Frame(b"b NOOP\n", [])]),
    # Literals.   RFC 9051 4.3; literal8 RFC 9051 9
    (b"a X {3}\r\nabc\r\n", [GO_ON, Frame(b"a X {3}\r\n\r\n", [b"abc"])]),
    (b"a X {3+}\r\nabc\r\n", [Frame(b"a X {3+}\r\n\r\n", [b"abc"])]),
    (b"a X ~{3}\r\na\0c\r\n", [GO_ON, Frame(b"a X ~{3}\r\n\r\n", [b"a\0c"])]),
    (b"a X ~{3+}\r\na\0c\r\n", [Frame(b"a X ~{3+}\r\n\r\n", [b"a\0c"])]),
    (b"a X {3}\nabc\n", [GO_ON, Frame(b"a X {3}\n\n", [b"abc"])]),
    (b"a X {0}\r\n\r\n", [GO_ON, Frame(b"a X {0}\r\n\r\n", [b""])]),
    (b"a X {0+}\r\n\r\n", [Frame(b"a X {0+}\r\n\r\n", [b""])]),
    (b"a X {003+}\r\nabc\r\n", [Frame(b"a X {003+}\r\n\r\n", [b"abc"])]),
    (b"a X {1}\r\nb {2+}\r\ncd {0}\r\n\r\n",
     [GO_ON, GO_ON, Frame(b"a X {1}\r\n {2+}\r\n {0}\r\n\r\n", [b"b", b"cd", b""])]),
    (b"a X {0+}\r\n{0+}\r\n\r\n", [Frame(b"a X {0+}\r\n{0+}\r\n\r\n", [b"", b""])]),
    # A literal is never read as a line, nor as the announcement of another one.
    (b"a X {99+}\r\nb NOOP\r\n{9}\r\n\r\n", []),
    (b"a X {13+}\r\nb NOOP\r\n{9}\r\n\r\n", [Frame(b"a X {13+}\r\n\r\n", [b"b NOOP\r\n{9}\r\n"])]),
    (b"a X {1+}\r\n\n\r\nb Y {1+}\r\n\r\r\n",
     [Frame(b"a X {1+}\r\n\r\n", [b"\n"]), Frame(b"b Y {1+}\r\n\r\n", [b"\r"])]),
    # Announcements that are none
    (b"a {3} b\r\n", [Frame(b"a {3} b\r\n", [])]),
    (b"a {3}\r\r\n", [Frame(b"a {3}\r\r\n", [])]),
    (b"a {}\r\n", [Frame(b"a {}\r\n", [])]),
    (b"a {+}\r\n", [Frame(b"a {+}\r\n", [])]),
    (b"a {-1}\r\n", [Frame(b"a {-1}\r\n", [])]),
    (b"a {3++}\r\n", [Frame(b"a {3++}\r\n", [])]),
    (b"a {3-}\r\n", [Frame(b"a {3-}\r\n", [])]),
    (b"a 3}\r\n", [Frame(b"a 3}\r\n", [])]),
    (b"a {\xd9\xa3}\r\n", [Frame(b"a {\xd9\xa3}\r\n", [])]),  # an Arabic 3
]  # fmt: skip


@pytest.mark.parametrize(("octets", "events"), FRAMES, ids=[shown(o) for o, _ in FRAMES])
@pytest.mark.parametrize("authenticated", [False, True])
def test_frames(octets: bytes, events: list[object], authenticated: bool) -> None:
    assert cut(octets, authenticated) == events


@given(st.data())
def test_pieces_make_no_difference(data: st.DataObject) -> None:
    octets = b"a X {5}\r\nb\r\n{1 {0+}\r\n ~{2+}\r\n\0\n\r\nb NOOP\nc Y {1+}\r\nz\r\nd"
    places = sorted(data.draw(st.sets(st.integers(1, len(octets) - 1))))
    ends = zip([0, *places], [*places, len(octets)], strict=True)
    assert said(framer(), [octets[a:b] for a, b in ends]) == cut(octets)


# -- limits --

NEXT = b"b NOOP\r\n"
B = Frame(NEXT, [])
BIG = TooBig("a", "Literal too big", False, False)


def test_literal_at_the_limit_is_taken() -> None:
    assert cut(b"a X {4}\r\nabcd\r\n", literal=4)[-1] == Frame(b"a X {4}\r\n\r\n", [b"abcd"])


def test_synchronizing_literal_is_refused_before_it_is_sent() -> None:
    """RFC 7888 4"""
    assert cut(b"a X {5}\r\n" + NEXT, literal=4) == [BIG, B]


def test_non_synchronizing_literal_is_discarded() -> None:
    assert cut(b"a X {5+}\r\nb\r\n{9 y\r\n" + NEXT, literal=4) == [BIG, B]


def test_what_follows_a_discarded_literal_is_discarded_too() -> None:
    octets = b"a X {5+}\r\nabcde {1+}\r\nx {0+}\r\n {6+}\r\nabcdef\r\n" + NEXT
    assert cut(octets, literal=4) == [BIG, B]


def test_synchronizing_literal_behind_a_discarded_one_is_refused() -> None:
    assert cut(b"a X {5+}\r\nabcde {1}\r\n" + NEXT, literal=4) == [BIG, B]


def test_literals_total() -> None:
    three = b"a X {4+}\r\nabcd {4+}\r\nabcd {1+}\r\nx\r\n"
    assert cut(three + NEXT, literals_total=9)[0] == Frame(
        b"a X {4+}\r\n {4+}\r\n {1+}\r\n\r\n", [b"abcd", b"abcd", b"x"]
    )
    assert cut(three + NEXT, literals_total=8) == [BIG, B]


def test_number_of_literals() -> None:
    assert len(cut(b"a X" + b" {0+}\r\n" * 3 + b"\r\n" + NEXT, literals=3)[0].literals) == 3
    assert cut(b"a X" + b" {0+}\r\n" * 4 + b"\r\n" + NEXT, literals=3) == [BIG, B]
    assert cut(b"a X" + b" {0}\r\n" * 4 + NEXT, literals=3) == [GO_ON] * 3 + [BIG, B]


@pytest.mark.parametrize("name", [b"APPEND", b"append", b"REPLACE", b"UID REPLACE"])
def test_messages_have_limits_of_their_own(name: bytes) -> None:
    limits = {"literal": 1, "literals_total": 1, "append": 4, "append_total": 6}
    too_big = TooBig("a", "Literal too big", True, False)
    assert cut(b"a %b x {4+}\r\nabcd {2+}\r\nef\r\n" % name, **limits)[0].literals == [
        b"abcd", b"ef",
    ]  # fmt: skip
    assert cut(b"a %b x {5}\r\n" % name + NEXT, **limits) == [too_big, B]
    assert cut(b"a %b x {4+}\r\nabcd {3+}\r\nefg\r\n" % name + NEXT, **limits) == [too_big, B]


def test_before_login_an_append_is_no_upload() -> None:
    assert cut(b"a APPEND x {5}\r\n" + NEXT, False, literal_before_login=4) == [BIG, B]


def test_before_login_a_literal_is_refused_or_ends_the_connection() -> None:
    assert cut(b"a LOGIN {4}\r\nabcd\r\n", False, literal_before_login=4)[1].literals == [b"abcd"]
    assert cut(b"a LOGIN {5}\r\n" + NEXT, False, literal_before_login=4) == [BIG, B]
    over = [Overflow("Literal too big")]
    assert cut(b"a LOGIN {5+}\r\nabcde\r\n" + NEXT, False, literal_before_login=4) == over
    assert cut(b"a X" + b" {4+}\r\nabcd" * 5, False, literal_before_login=4) == over


@pytest.mark.parametrize("authenticated", [False, True])
@pytest.mark.parametrize("digits", [31, 59, 60, 61, 62, 63, 64, 65, 1000])
def test_too_many_digits(digits: int, authenticated: bool) -> None:
    """Refused or the end, but never a wait for what cannot come, nor a frame without its literal."""
    for plus in (b"", b"+"):
        octets = b"a X {%b%b}\r\n" % (b"9" * digits, plus)
        events = cut(octets + NEXT, authenticated)
        assert events in ([Overflow("Literal too big")], [BIG, B]), plus


@pytest.mark.parametrize(("authenticated", "limit"), [(True, "line"), (False, "line_before_login")])
def test_line_limit(authenticated: bool, limit: str) -> None:
    over = Overflow("Line too long")
    fits = b"a" * 20 + b"\n"
    assert cut(fits, authenticated, **{limit: 20}) == [Frame(fits, [])]
    assert cut(b"a" * 21, authenticated, **{limit: 20}) == [over]
    assert cut(b"a" * 21 + b"\n" + NEXT, authenticated, **{limit: 20}) == [over]
    # All lines of a command together.
    assert cut(b"a X {1+}\r\nx" * 3, authenticated, **{limit: 20})[-1] == over


@pytest.mark.parametrize(
    ("octets", "tag"),
    [(b"a.1 X {9}\r\n", "a.1"), (b" X {9}\r\n", "*"), (b"{9}\r\n", "*"), (b"a+b X {9}\r\n", "*"),
     (b"\xe4 X {9}\r\n", "*"), (b"* X {9}\r\n", "*")],
)  # fmt: skip
def test_tag_of_what_is_too_big(octets: bytes, tag: str) -> None:
    assert cut(octets, literal=1) == [TooBig(tag, "Literal too big", False, False)]


# -- the rest --


def test_next_line() -> None:
    """An answer to a continuation request: {3} announces nothing in it."""
    one = framer()
    one.receive_data(b"YQ== {3}\r\nb NOOP\r\n")
    assert one.next_line() == b"YQ== {3}"
    assert one.next() == B
    one.receive_data(b"=\n*")
    assert one.next_line() == b"="
    assert one.next_line() is None
    assert one.waiting == 1


def test_next_line_limit() -> None:
    one = framer(authenticated=False, literal_before_login=4)
    one.receive_data(b"a" * 17)
    assert one.next_line() == Overflow("Line too long")


def test_discard_forgets_all() -> None:
    """RFC 9051 6.2.1"""
    one = framer()
    assert said(one, [b"a X {5}\r\nab"]) == [GO_ON]
    one.discard()
    assert said(one, [NEXT]) == [B]
    one.receive_data(b"c NO")
    assert one.next() is None
    one.discard()
    assert one.waiting == 0
    assert said(one, [NEXT]) == [B]


def test_refused_literal_leaves_the_next_command() -> None:
    one = framer()
    assert said(one, [b"a X {5}\r\n"]) == [GO_ON]
    assert one.text == b"a X {5}\r\n"
    one.refuse_literal()
    assert said(one, [NEXT]) == [B]


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_cost_of_literals_is_in_their_octets(piece: int) -> None:
    """Ten times as many must cost about ten times as much; a quadratic framer needs a hundred."""

    def cost(literals: int) -> float:
        octets = b"a X" + b" {3+}\r\nabc" * literals + b"\r\n"
        pieces = [octets[at : at + piece] for at in range(0, len(octets), piece)]
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            (frame,) = said(framer(), pieces)
            best = min(best, time.process_time() - start)
            assert frame.literals == [b"abc"] * literals
        return best

    assert cost(10_000) < 40 * cost(1_000) + 0.01
