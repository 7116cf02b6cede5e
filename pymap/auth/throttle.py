"""Who has failed to log in too often waits, and in the end is refused without looking.

Rule 1: a failure counts for the address and for the user. It is forgotten `forgotten_after_s`
        after the last one of the same user from the same address.
Rule 2: `free_failures` cost nothing. From then on each failure has to be followed by a pause: 1 s,
        2 s, 4 s, up to `longest_delay_s`; an attempt that comes sooner waits for its end.
Rule 3: an address with `refused_after` failures is refused, whoever it says to be, and so is a
        user with five times as many, wherever it comes from; 0 is never. What is refused does not
        count as a failure, or one forgotten phone would keep its house out for ever.
Rule 4: where a user has logged in lately, nothing counts but its own failures there. So nobody can
        lock a user out of its home from elsewhere, nor a house by one phone in it. Guessing from
        within such a house ends at `refused_after` failures for each of those who live there. A
        token is a user of its own here, and has no home before it was good once.
Rule 5: a right password forgets what that user has failed from that address, and nothing else. Who
        owns an account cannot use it to be allowed more guesses at others.
Rule 6: an attempt under way may yet fail, so no more are let in at once than may fail for free, and
        one, where that is used up. All others wait for their turn: those who come back all at once
        after a restart come in one after the other, and none of them is refused for it. For a user
        it is five times as many, so that nobody can take all turns from one address.
Rule 7: few may wait out the same pause; more are refused at once. The pause of an address begins
        with its last failure, so ten connections do not guess ten times as fast as one. The pause
        of a user is for each attempt its own: it must not have to wait behind its attackers.
Rule 8: an IPv6 address counts as its network of 64 bits, for that is what one customer has; IPv4 in
        IPv6 as IPv4. Loopback and UNIX sockets are no address: a webmail on the same machine makes
        everybody's failures, and an attacker cannot be there. The user counts all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import NamedTuple

from pymap.auth.channel import network
from pymap.config import AuthConfig

__all__ = ["Throttle", "Throttled"]

ENTRIES = 50_000  # of each kind: pairs that have failed, users that have logged in
HOMES = 8  # addresses of one user
LATELY_S = 14 * 24 * 3600
WAITING = 10  # attempts that wait out one pause
USER = 5  # times as many failures as of an address
SPARED_S = 60  # after which nobody will tell how an attempt has ended


class Throttled(Exception):
    """Refused without looking; whether the password is right is not known."""


class _Pair(NamedTuple):
    """A user at an address. Both are short whatever the client sends, and a password that was typed
    in place of the name is not kept. The address is empty where there is none."""

    address: bytes
    user: bytes


_Key = bytes | _Pair
"""What is counted: an address, a user or a pair; an address has 4 or 8 octets, a user 16."""


class _Gate(NamedTuple):
    """Whose failures count for an attempt. `wide`: those of a user, from anywhere or from where
    everybody comes from. There five times as many may fail, wait and be let in."""

    key: _Key
    wide: bool


class _Count:
    """What is known of one key while there is something to know."""

    __slots__ = ("failures", "last", "running", "turn", "waiting")

    def __init__(self) -> None:
        self.failures = 0
        self.last = -inf  # when the last one was
        self.running = 0  # attempts under way
        self.waiting = 0  # attempts that wait out a pause
        self.turn: asyncio.Event | None = None  # for those who wait that an attempt ends


class Throttle:
    """The failures of all addresses and users, in memory: under attack at most 40 MB, and 1 KiB for
    each of the last 50,000 users that have logged in.

    For each attempt `admit` comes first, when all that the client has to send is there: few may be
    under way at once, so nobody must be able to keep one there. Then comes one of `succeeded`,
    `failed` and `spared`. `clock` is in seconds and never goes back.
    """

    def __init__(
        self,
        config: AuthConfig,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._clock = clock
        self._sleep = sleep
        # Failures, and when the last one was, which ascends. What `_counts` says is their sum.
        self._failures: OrderedDict[_Pair, tuple[int, float]] = OrderedDict()
        self._counts: dict[_Key, _Count] = {}
        self._running: dict[_Pair, deque[asyncio.TimerHandle]] = {}
        # Where a user has logged in, and when; the last one that did is last, in both.
        self._homes: OrderedDict[bytes, dict[bytes, float]] = OrderedDict()

    async def admit(self, address: str, user: str) -> None:
        """Wait out the pause that earlier failures brought, and for the end of attempts that may
        yet fail. Raises Throttled if this address or user is refused without looking."""
        pair, came = _pair(address, user), self._clock()
        now = came
        paused: set[_Key] = set()  # where this attempt is one of those that wait
        try:
            while True:
                pause, busy = self._look(pair, came, now, paused)
                if pause > 0:
                    await self._sleep(pause)
                    # A sleep may end a little early, by the clock.
                    now = max(now + pause, self._clock())
                elif busy is not None:
                    await busy.wait()
                    now = max(now, self._clock())
                else:
                    break
        finally:
            for key in paused:
                self._counts[key].waiting -= 1
                self._tidy(key)
        self._begin(pair)

    def failed(self, address: str, user: str) -> None:
        """The attempt that was admitted has failed."""
        pair, now = _pair(address, user), self._clock()
        self._forget(now)
        failures, _ = self._failures.pop(pair, (0, now))
        self._failures[pair] = failures + 1, now
        for key in _keys(pair):
            count = self._count(key)
            count.failures += 1
            count.last = now
        if len(self._failures) > ENTRIES:
            self._clear(next(iter(self._failures)))
        self._end(pair)

    def succeeded(self, address: str, user: str) -> None:
        """The attempt that was admitted has brought the right password."""
        pair = _pair(address, user)
        self._clear(pair)
        homes = self._homes.setdefault(pair.user, {})
        self._homes.move_to_end(pair.user)
        homes.pop(pair.address, None)
        homes[pair.address] = self._clock()
        if len(homes) > HOMES:
            del homes[next(iter(homes))]
        if len(self._homes) > ENTRIES:
            self._homes.popitem(last=False)
        self._end(pair)

    def spared(self, address: str, user: str) -> None:
        """The attempt that was admitted has ended and is no failure: the store is away, or the
        client. It is as if it had not been. Where nobody says how one ends, this is said for it
        after a minute."""
        self._end(_pair(address, user))

    # -- whether to let in --

    def _look(
        self, pair: _Pair, came: float, now: float, paused: set[_Key]
    ) -> tuple[float, asyncio.Event | None]:
        """How long to wait at least, and otherwise for what; the attempt is counted among those
        that wait out a pause. Raises Throttled."""
        self._forget(now)
        free = self._config.free_failures
        pause, busy = 0.0, None
        for key, wide in self._gates(pair, now):
            count = self._counts.get(key)
            if count is None:
                continue
            times = USER if wide else 1
            if count.failures >= times * (self._config.refused_after or inf):
                raise Throttled
            left = (came if wide else count.last) + self._pause(count.failures) - now
            full = count.running >= times * max(1, free + 1 - count.failures)
            if count.failures > free and (left > 0 or full) and key not in paused:
                if count.waiting >= times * WAITING:
                    raise Throttled
                count.waiting += 1
                paused.add(key)
            pause = max(pause, left)
            if full:
                busy = count.turn = count.turn or asyncio.Event()
        return pause, busy

    def _gates(self, pair: _Pair, now: float) -> list[_Gate]:
        homes = self._homes.get(pair.user)
        if homes is not None and now - homes.get(pair.address, -inf) < LATELY_S:
            return [_Gate(pair, wide=not pair.address)]
        everywhere = _Gate(pair.user, wide=True)
        return [_Gate(pair.address, wide=False), everywhere] if pair.address else [everywhere]

    def _pause(self, failures: int) -> float:
        """Between that many failures and the next attempt."""
        over = failures - self._config.free_failures
        if over <= 0:
            return 0
        return min(self._config.longest_delay_s, 2.0 ** min(over - 1, 60))

    # -- attempts under way --

    def _begin(self, pair: _Pair) -> None:
        for key in _keys(pair):
            self._count(key).running += 1
        spared = asyncio.get_running_loop().call_later(SPARED_S, self._end, pair)
        self._running.setdefault(pair, deque()).append(spared)

    def _end(self, pair: _Pair) -> None:
        running = self._running.get(pair)
        if running is None:  # it took so long that it was spared
            return
        running.popleft().cancel()
        if not running:
            del self._running[pair]
        for key in _keys(pair):
            count = self._counts[key]
            count.running -= 1
            if count.turn is not None:
                count.turn.set()
                count.turn = None
            self._tidy(key)

    # -- what is remembered --

    def _count(self, key: _Key) -> _Count:
        return self._counts.setdefault(key, _Count())

    def _tidy(self, key: _Key) -> None:
        count = self._counts[key]
        if not (count.failures or count.running or count.waiting):
            del self._counts[key]

    def _forget(self, now: float) -> None:
        while self._failures:
            pair, (_, last) = next(iter(self._failures.items()))
            if now - last < self._config.forgotten_after_s:
                break
            self._clear(pair)

    def _clear(self, pair: _Pair) -> None:
        failures, _ = self._failures.pop(pair, (0, 0))
        if failures:
            for key in _keys(pair):
                self._counts[key].failures -= failures
                self._tidy(key)


def _pair(address: str, user: str) -> _Pair:
    name = user.encode("utf-8", "surrogatepass")
    return _Pair(network(address), hashlib.blake2b(name, digest_size=16).digest())


def _keys(pair: _Pair) -> list[_Key]:
    """Everything that counts what this pair does."""
    return [pair, pair.user, pair.address] if pair.address else [pair, pair.user]
