"""A raw IMAP client that costs little: blocking sockets, request bytes built beforehand, and one
search for the tagged line in what arrived.

Rule 1: every command has the same tag, which occurs in no message. A line that starts with it can
then only be a completion, also where the response is full of literals.
Rule 2: the clock stops when the completion is read; what the answer holds is verified after that.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

TAG = b"Bq7x"
MARK = b"\n" + TAG + b" "
OK = MARK + b"OK"

_TIMEOUT_S = 120
_RECV = 128 * 1024  # more would cost an mmap in the kernel and the allocator each time
_IDLE_TICK_S = 60


class Failure(Exception):
    """The server's answer was wrong, short, or missing: the run has no result."""


Check = Callable[[bytes], None]


class Step(NamedTuple):
    """One request and what must be true of its answer."""

    request: bytes
    check: Check | None = None
    ops: int = 1
    """Commands in the request; each must be completed by an OK."""


class Client:
    """One connection, greeting read."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Not settimeout(): that makes Python poll() before every recv().
        timeout = struct.pack("ll", _TIMEOUT_S, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._buffer = bytearray(b"\n") * (2 * 1024)
        self._view = memoryview(self._buffer)
        self._end = self._scanned = 1  # octet 0 is a newline that stands before the first line
        self._left = self._completions = 0
        self.until(b"* OK")

    def close(self) -> None:
        self._view.release()
        self.sock.close()

    # -- one request at a time --

    def send(self, request: bytes, completions: int = 1) -> None:
        self._reset(completions)
        self.sock.sendall(request)

    def feed(self) -> bool:
        """Receive once; True if all completions of the last request are here."""
        self._receive()
        start = max(0, self._scanned - len(MARK) + 1)
        self._left -= self._buffer.count(MARK, start, self._end)
        self._scanned = self._end
        return self._left <= 0 and self._buffer[self._end - 1] == 10

    def response(self) -> bytes:
        """What answered the last request. Raises Failure if a command was not OK."""
        if self._completions == 1:
            good = self._buffer.startswith(OK, self._buffer.rfind(MARK, 0, self._end))
        else:
            good = self._buffer.count(OK, 0, self._end) == self._completions
        if not good:
            at = self._buffer.rfind(MARK, 0, self._end)
            line = bytes(self._buffer[at + 1 : min(self._end, at + 200)])
            raise Failure(f"server answered {line!r}")
        return bytes(self._view[1 : self._end])

    def ask(self, request: bytes, completions: int = 1) -> bytes:
        self.send(request, completions)
        while not self.feed():
            pass
        return self.response()

    def until(self, needle: bytes) -> None:
        """Read on until a line with `needle` is complete (greeting, continuation, IDLE news)."""
        while not self.heard(needle):
            self._receive()

    def heard(self, needle: bytes) -> bool:
        at = self._buffer.find(needle, 0, self._end)
        return at >= 0 and self._buffer.find(b"\n", at, self._end) >= 0

    def feed_news(self, needle: bytes) -> bool:
        self._receive()
        return self.heard(needle)

    def forget(self) -> None:
        """Drop what was read, so that the next `heard` is about news only."""
        self._reset(0)

    # -- commands of the set-up --

    def command(self, text: str) -> bytes:
        return self.ask(TAG + b" " + text.encode() + b"\r\n")

    def login(self, user: str, password: str) -> None:
        self.command(f"LOGIN {user} {password}")

    def select(self, name: str) -> int:
        """The number of messages that EXIST."""
        words = self.command(f"SELECT {name}").split()
        return int(words[words.index(b"EXISTS") - 1])

    def idle(self) -> None:
        self.send(TAG + b" IDLE\r\n")
        self.until(b"+ ")
        self.forget()

    # -- the buffer --

    def _reset(self, completions: int) -> None:
        self._end = self._scanned = 1
        self._left = self._completions = completions

    def _receive(self) -> None:
        if len(self._buffer) - self._end < 1024:
            self._grow()
        try:
            n = self.sock.recv_into(self._view[self._end : self._end + _RECV])
        except BlockingIOError:
            raise Failure(f"no answer in {_TIMEOUT_S} s") from None
        if n == 0:
            tail = bytes(self._buffer[max(1, self._end - 200) : self._end])
            raise Failure(f"server closed the connection after {tail!r}")
        self._end += n

    def _grow(self) -> None:
        larger = bytearray(max(256 * 1024, 2 * len(self._buffer)))
        larger[: self._end] = self._view[: self._end]
        self._view.release()
        self._buffer = larger
        self._view = memoryview(larger)


# -- loops --


class Timing(NamedTuple):
    """What a loop did."""

    ops: int
    elapsed_s: float
    latencies: list[float]
    """Of each request, in seconds."""
    aside_s: float = 0.0
    """What the generator did meanwhile that is not driving the load: checks, outside of elapsed."""


def closed_loop(client: Client, steps: Sequence[Step], slot_s: float, multiple: int = 1) -> Timing:
    """One request in flight. Elapsed is the sum of the latencies: what the generator does between
    two requests (verify, choose the next) is not counted against the server.

    Stops after `slot_s`, at a multiple of `multiple` requests.
    """
    latencies: list[float] = []
    ops = 0
    aside_s = 0.0
    deadline = perf_counter() + slot_s
    while True:
        for step in steps:
            begun = perf_counter()
            client.send(step.request, step.ops)
            while not client.feed():
                pass
            ended = perf_counter()
            latencies.append(ended - begun)
            ops += step.ops
            response = client.response()
            if step.check is not None:
                step.check(response)
            aside_s += perf_counter() - ended
            if ended >= deadline and len(latencies) % multiple == 0:
                return Timing(ops, sum(latencies), latencies, aside_s)


def parallel_loop(clients: Sequence[Client], steps: Sequence[Step], slot_s: float) -> Timing:
    """One request in flight on each connection, all from one epoll. Elapsed is wall time."""
    poll = select.epoll()
    by_fd = {client.sock.fileno(): client for client in clients}
    sent: dict[int, float] = {}
    pending: dict[int, Step] = {}
    latencies: list[float] = []
    ops = turn = 0
    started = perf_counter()
    deadline = started + slot_s

    def begin(fd: int) -> None:
        nonlocal turn
        step = pending[fd] = steps[turn % len(steps)]
        turn += 1
        sent[fd] = perf_counter()
        by_fd[fd].send(step.request, step.ops)

    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
        begin(fd)
    while pending:
        for fd, _ in wait(poll):
            client = by_fd[fd]
            if not client.feed():
                continue
            now = perf_counter()
            latencies.append(now - sent[fd])
            step = pending.pop(fd)
            ops += step.ops
            response = client.response()
            if step.check is not None:
                step.check(response)
            if now < deadline:
                begin(fd)
    elapsed = perf_counter() - started
    poll.close()
    return Timing(ops, elapsed, latencies)


def wait(poll: select.epoll) -> list[tuple[int, int]]:
    ready = poll.poll(_IDLE_TICK_S)
    if not ready:
        raise Failure(f"nothing heard in {_IDLE_TICK_S} s")
    return ready
