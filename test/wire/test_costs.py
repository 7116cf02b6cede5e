"""What a client sends costs what it weighs: no quadratic parse, no memory for what is refused.

Bounds are ratios or generous times: ten times as much may take forty times as long, where the
quadratic way would take a hundred times.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

from pymap.wire.connection import BadEvent, Connection, Ready
from pymap.wire.framer import Event

from .feed import NOT_AUTHENTICATED, connection, events


def seconds(octets: bytes, piece: int = 1 << 16) -> float:
    """The fastest of three times."""
    pieces = [octets[at : at + piece] for at in range(0, len(octets), piece)]
    best = float("inf")
    for _ in range(3):
        one = connection()
        began = time.process_time()
        *_, last = events(one, pieces)
        best = min(best, time.process_time() - began)
        assert isinstance(last, Ready), last
    return best


SHAPES: dict[str, Callable[[int], bytes]] = {
    "ranges": lambda n: b"a COPY " + b",".join([b"123:9", b"*:1"] * (n // 2)) + b" x\r\n",
    "numbers": lambda n: b"a COPY " + b",".join(b"%d" % i for i in range(1, n)) + b" x\r\n",
    "one line": lambda n: b"a DELETE " + b"x" * (8 * n) + b"\r\n",
    "blanks": lambda n: b'a DELETE "' + b" x" * (4 * n) + b'"\r\n',
    "trailing blanks": lambda n: b"a NOOP" + b" " * (8 * n) + b"\r\n",
    "escapes": lambda n: b'a DELETE "' + b'\\"' * (4 * n) + b'"\r\n',
    "shifts": lambda n: b"a DELETE " + b"&-" * (4 * n) + b"\r\n",
    "one literal": lambda n: b"a DELETE {%d+}\r\n%b\r\n" % (8 * n, b"x" * (8 * n)),
    "one message": lambda n: b"a APPEND x {%d+}\r\n%b\r\n" % (8 * n, b"\r\n" * (4 * n)),
    "pipelined": lambda n: b"a NOOP\r\n" * n,
    "capabilities": lambda n: b"a ENABLE" + b" X" * n + b"\r\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_cost_is_in_the_octets(shape: str) -> None:
    make = SHAPES[shape]
    assert seconds(make(100_000)) < 40 * seconds(make(10_000)) + 0.01


@pytest.mark.parametrize("shape", ["one line", "one literal", "one message"])
@pytest.mark.parametrize("piece", [7, 1500])
def test_pieces_do_not_cost_more_as_they_add_up(shape: str, piece: int) -> None:
    make = SHAPES[shape]
    assert seconds(make(100_000), piece) < 40 * seconds(make(10_000), piece) + 0.01


def test_line_of_a_megabyte_octet_by_octet() -> None:
    """The place already searched for a line end is not searched again: 0.4 s, not hours."""
    one = connection()
    one.receive_data(b"a DELETE ")
    began = time.process_time()
    for _ in range(1_000_000):
        one.receive_data(b"x")
        assert one.next_event() is None
    assert time.process_time() - began < 10
    one.receive_data(b"\r\n")
    assert isinstance(one.next_event(), Ready)


def test_10000_synchronizing_literals() -> None:
    """A client that does not wait for its + makes 10,000 of them at once."""
    octets = b"a SEARCH" + b" SUBJECT {3}\r\nabc" * 9_999 + b"\r\n"
    began = time.process_time()
    *continues, last = events(connection(), [octets])
    assert time.process_time() - began < 3
    assert continues == [Event.CONTINUE] * 9_999
    assert isinstance(last, Ready)


# -- memory --


def peak(talk: Callable[[], None]) -> int:
    tracemalloc.start()
    try:
        talk()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_discarded_literal_is_not_kept() -> None:
    """A literal over the limit is counted away: 20 MB come, and less than 1 MB is ever held."""
    one = connection(literal=1000)
    piece = b"x" * 65_536

    def talk() -> None:
        one.receive_data(b"a DELETE {%d+}\r\n" % (320 * len(piece)))
        for _ in range(320):
            assert one.next_event() is None
            one.receive_data(piece)
            assert one.framer.waiting <= 2 * len(piece)
        one.receive_data(b"\r\nb NOOP\r\n")
        refused, after = one.next_event(), one.next_event()
        assert isinstance(refused, BadEvent)
        assert refused.tag == "a"
        assert isinstance(after, Ready)

    assert peak(talk) < 1_000_000


def test_taken_literals_are_let_go_when_one_is_too_many() -> None:
    """The refused command may go on for long; what had come of it is not kept so long."""
    one = connection(literals_total=2_000_000)
    literal = b" {100000+}\r\n" + b"x" * 100_000
    tracemalloc.start()
    try:
        one.receive_data(b"a SEARCH")
        for _ in range(20):
            one.receive_data(literal)
            assert one.next_event() is None
        assert tracemalloc.get_traced_memory()[0] > 2_000_000
        for _ in range(80):
            one.receive_data(literal)
            assert one.next_event() is None
            assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
    one.receive_data(b"\r\nb NOOP\r\n")
    refused, after = one.next_event(), one.next_event()
    assert isinstance(refused, BadEvent)
    assert isinstance(after, Ready)


def test_announced_size_costs_nothing() -> None:
    """The announcement of a literal reserves no memory for it."""

    def talk() -> None:
        made: list[Connection] = []
        for _ in range(1000):
            one = connection()
            one.receive_data(b"a APPEND x {60000000}\r\n")
            assert one.next_event() is Event.CONTINUE
            made.append(one)

    assert peak(talk) < 5_000_000


def test_idle_connection_is_small() -> None:
    def talk() -> None:
        made: list[Connection] = []
        for _ in range(1000):
            one = connection(NOT_AUTHENTICATED)
            one.receive_data(b"a NOOP\r\n")
            assert isinstance(one.next_event(), Ready)
            made.append(one)

    assert peak(talk) < 2_000_000
