"""What is counted: plain numbers, changed in the event loop and read there when somebody asks.

A command costs 0.3 us. The counters of prometheus-client take locks and walk their buckets, 1 to
3 us; so that library only writes down what is counted here (`exposition`).

Rule 1: a label is a word from our own code. A name that a client has sent is looked up among those
        that we know, and is ``?`` if it is not there: nobody can make the numbers grow.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from pymap.observer import Observer
from pymap.wire.parse import COMMANDS

__all__ = ["Histogram", "Lag", "Metrics"]

# Upper bounds, in seconds.
LATENCY = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1, 2.5, 5, 10, 30,
)  # fmt: skip
SESSION = (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600)
LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

MECHANISMS = (
    "LOGIN", "PLAIN", "EXTERNAL", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2",
)  # fmt: skip


class Histogram:
    """How many values lie up to each of some bounds, and above the last."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics(Observer):
    """Everything that happened since it was made."""

    def __init__(self) -> None:
        # What is zero from the start shows as zero: an alert sees the step to one.
        self.connections = Counter({"false": 0, "true": 0})  # by whether TLS is implicit
        self.refusals = Counter({"limit": 0, "proxy": 0})
        self.handshakes = Counter({"ok": 0, "failed": 0})
        self.sessions = Histogram(SESSION)
        self.received = self.sent = 0  # octets of the connections that are gone
        self.authentications = Counter({("LOGIN", "ok"): 0, ("LOGIN", "failed"): 0})
        self.commands: Counter[tuple[str, str]] = Counter()  # by name and result
        # IDLE takes as long as the client likes: its time says nothing.
        names = sorted(name.decode("ascii") for name in COMMANDS if name != b"IDLE")
        self.durations = {name: Histogram(LATENCY) for name in names}
        self.messages = Counter({"append": 0, "admin": 0})
        self.message_octets = Counter({"append": 0, "admin": 0})
        self.errors = Counter({"UNAVAILABLE": 0, "CORRUPTION": 0, "SERVERBUG": 0})

    def connected(self, tls: bool) -> None:
        self.connections["true" if tls else "false"] += 1

    def disconnected(self, seconds: float, received: int, sent: int) -> None:
        self.sessions.observe(seconds)
        self.received += received
        self.sent += sent

    def refused(self, reason: str) -> None:
        self.refusals[reason] += 1

    def handshake(self, ok: bool) -> None:
        self.handshakes["ok" if ok else "failed"] += 1

    def authenticated(self, mechanism: str, result: str) -> None:
        self.authentications[mechanism if mechanism in MECHANISMS else "?", result] += 1

    def commanded(self, name: str, result: str, seconds: float) -> None:
        if (durations := self.durations.get(name)) is not None:
            durations.observe(seconds)
        elif name != "IDLE":
            name = "?"
        self.commands[name, result] += 1

    def appended(self, messages: int, octets: int, source: str) -> None:
        self.messages[source] += messages
        self.message_octets[source] += octets

    def backend_failed(self, code: str) -> None:
        self.errors[code] += 1


class Lag:
    """How late the event loop does what was due, looked at once a second: for so long nobody was
    answered."""

    PERIOD_S = 1.0
    REMEMBERED = 60

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.histogram = Histogram(LAG)
        self._clock = clock
        self._latest: deque[float] = deque(maxlen=self.REMEMBERED)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def most(self) -> float:
        """Of the last minute, in seconds."""
        return max(self._latest, default=0.0)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        self._wait()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _wait(self) -> None:
        due = self._clock() + self.PERIOD_S
        self._timer = asyncio.get_running_loop().call_later(self.PERIOD_S, self._look, due)

    def _look(self, due: float) -> None:
        late = max(0.0, self._clock() - due)
        self.histogram.observe(late)
        self._latest.append(late)
        self._wait()
