"""Brute force: who waits, who is refused, and who must not be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymap.auth import throttle as module
from pymap.auth.throttle import Throttle, Throttled
from pymap.config import AuthConfig

HOME, OFFICE, EVIL = "192.0.2.1", "192.0.2.99", "198.51.100.7"
CONFIG = AuthConfig()  # 3 free, up to 15 s, 20, a quarter of an hour
MAY = True


class Time:
    """A clock that goes on only when it is told to, and those who sleep by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._order = count()
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        future = asyncio.get_running_loop().create_future()
        heappush(self._sleeping, (self.now + seconds, next(self._order), future))
        await future

    async def go_on(self, seconds: float) -> None:
        """All that happens within so many seconds."""
        until = self.now + seconds
        await settle()
        while self._sleeping and self._sleeping[0][0] <= until:
            due, _, future = heappop(self._sleeping)
            self.now = max(self.now, due)
            if not future.done():
                future.set_result(None)
            await settle()
        self.now = until


async def settle() -> None:
    """Everything runs that waits for nothing but its turn of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def throttle(time: Time) -> Throttle:
    return Throttle(CONFIG, time.clock, time.sleep)


async def waited(time: Time, call: Coroutine[Any, Any, None]) -> float:
    """How long it took; whatever the call raises is raised."""
    started = time.now
    task = asyncio.ensure_future(call)
    await settle()
    while not task.done():
        assert time._sleeping, "it waits for ever"
        await time.go_on(time._sleeping[0][0] - time.now)
    await task
    return time.now - started


async def fail(throttle: Throttle, time: Time, address: str, user: str, times: int = 1) -> float:
    """Failures one after the other; how long the last one had to wait."""
    pause = 0.0
    for _ in range(times):
        pause = await waited(time, throttle.admit(address, user))
        throttle.failed(address, user)
    return pause


async def succeed(throttle: Throttle, time: Time, address: str, user: str) -> float:
    pause = await waited(time, throttle.admit(address, user))
    throttle.succeeded(address, user)
    return pause


# -- one after the other --


async def test_pauses_double_and_then_all_is_refused(throttle: Throttle, time: Time) -> None:
    pauses = [await fail(throttle, time, EVIL, f"user{n}") for n in range(20)]
    assert pauses == [0, 0, 0, 0, 1, 2, 4, 8, *[15] * 12]
    for user in ("user1", "another"):
        with pytest.raises(Throttled):
            await throttle.admit(EVIL, user)
    assert await succeed(throttle, time, HOME, "another") == 0


async def test_who_takes_its_time_does_not_wait(throttle: Throttle, time: Time) -> None:
    await fail(throttle, time, EVIL, "alice", 5)
    time.now += 1.5
    assert await succeed(throttle, time, EVIL, "bob") == 0.5


async def test_failures_are_forgotten_and_refusals_do_not_count(
    throttle: Throttle, time: Time
) -> None:
    await fail(throttle, time, EVIL, "alice", 20)
    for _ in range(9):
        time.now += 99
        with pytest.raises(Throttled):
            await throttle.admit(EVIL, "alice")
    time.now += 9
    assert await fail(throttle, time, EVIL, "alice", 4) == 0
    time.now += 900
    assert await fail(throttle, time, EVIL, "bob") == 0
    assert len(throttle._counts) == 3


async def test_each_pair_is_forgotten_after_its_own_last_failure(
    throttle: Throttle, time: Time
) -> None:
    await fail(throttle, time, EVIL, "alice", 4)
    time.now += 890
    await fail(throttle, time, EVIL, "bob")
    time.now += 20
    assert await succeed(throttle, time, EVIL, "carol") == 0
    assert throttle._counts.keys() == {*module._keys(module._pair(EVIL, "bob"))}


async def test_many_addresses_together_are_refused_one_user(throttle: Throttle, time: Time) -> None:
    for n in range(100):
        throttle.failed(f"198.51.100.{n}", "alice")
    with pytest.raises(Throttled):
        await throttle.admit("203.0.113.1", "alice")
    assert await succeed(throttle, time, "203.0.113.1", "bob") == 0


@pytest.mark.parametrize(
    ("config", "pauses", "refused"),
    [
        (replace(CONFIG, free_failures=0), [0, 1, 2, 4, 8, 15, 15], False),
        (replace(CONFIG, longest_delay_s=0), [0] * 20, True),
        (replace(CONFIG, refused_after=0), [0] * 4 + [1, 2, 4, 8] + [15] * 192, False),
        (replace(CONFIG, refused_after=1), [0], True),
    ],
)
async def test_what_the_operator_may_say(
    time: Time, config: AuthConfig, pauses: list[float], refused: bool
) -> None:
    config = replace(config, forgotten_after_s=1e6)
    throttle = Throttle(config, time.clock, time.sleep)
    assert [await fail(throttle, time, EVIL, "alice") for _ in pauses] == pauses
    if refused:
        with pytest.raises(Throttled):
            await throttle.admit(EVIL, "alice")


# -- right passwords --


async def test_a_right_password_forgets_the_own_failures_there(
    throttle: Throttle, time: Time
) -> None:
    await fail(throttle, time, HOME, "alice", 6)
    await fail(throttle, time, EVIL, "alice", 1)
    await succeed(throttle, time, HOME, "alice")
    assert await fail(throttle, time, HOME, "bob", 4) == 0
    assert {count.failures for count in throttle._counts.values()} == {1, 4}


async def test_an_own_account_does_not_buy_guesses(throttle: Throttle, time: Time) -> None:
    for n in range(20):
        await fail(throttle, time, EVIL, f"victim{n}")
        if n < 19:
            await succeed(throttle, time, EVIL, "attacker")
    with pytest.raises(Throttled):
        await throttle.admit(EVIL, "victim20")
    assert await succeed(throttle, time, EVIL, "attacker") == 0  # itself it may be
    with pytest.raises(Throttled):
        await throttle.admit(EVIL, "victim1")


async def test_nobody_locks_a_user_out_of_its_home(throttle: Throttle, time: Time) -> None:
    await succeed(throttle, time, HOME, "alice")
    for n in range(100):
        throttle.failed(f"198.51.100.{n}", "alice")
    with pytest.raises(Throttled):
        await throttle.admit(OFFICE, "alice")
    assert await succeed(throttle, time, HOME, "alice") == 0


async def test_one_phone_does_not_shut_out_the_house(throttle: Throttle, time: Time) -> None:
    await succeed(throttle, time, HOME, "alice")
    await fail(throttle, time, HOME, "bob", 20)
    assert await succeed(throttle, time, HOME, "alice") == 0
    for user in ("bob", "a guest"):
        with pytest.raises(Throttled):
            await throttle.admit(HOME, user)


async def test_guessing_from_home_ends_too(throttle: Throttle, time: Time) -> None:
    await succeed(throttle, time, HOME, "alice")
    assert await fail(throttle, time, HOME, "alice", 20) == 15
    with pytest.raises(Throttled):
        await throttle.admit(HOME, "alice")


async def test_a_home_is_forgotten_after_two_weeks(throttle: Throttle, time: Time) -> None:
    await succeed(throttle, time, HOME, "alice")
    time.now += module.LATELY_S
    await fail(throttle, time, HOME, "bob", 20)
    with pytest.raises(Throttled):
        await throttle.admit(HOME, "alice")


async def test_the_homes_of_one_user_are_the_last_ones(throttle: Throttle, time: Time) -> None:
    """And they push out none of another user's."""
    await succeed(throttle, time, HOME, "bob")
    await succeed(throttle, time, HOME, "alice")
    for n in range(module.HOMES):
        await succeed(throttle, time, f"2001:db8:0:{n}::1", "alice")
    await fail(throttle, time, HOME, "x", 20)
    with pytest.raises(Throttled):
        await throttle.admit(HOME, "alice")
    assert await succeed(throttle, time, HOME, "bob") == 0


# -- addresses --


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("no address", "no address", False),
        ("192.0.2.1", "32.1.13.184", False),
    ],
)
async def test_what_is_one_address(
    throttle: Throttle, time: Time, one: str, two: str, same: bool
) -> None:
    await fail(throttle, time, one, "alice", 20)
    if same:
        with pytest.raises(Throttled):
            await throttle.admit(two, "bob")
    else:
        assert await succeed(throttle, time, two, "bob") == 0


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_loopback_is_no_address(throttle: Throttle, time: Time, address: str) -> None:
    for n in range(50):
        assert await fail(throttle, time, address, f"user{n}") == 0
    assert await fail(throttle, time, address, "alice", 100) == 15  # the user counts all the same
    with pytest.raises(Throttled):
        await throttle.admit(address, "alice")
    assert await succeed(throttle, time, address, "bob") == 0


async def test_loopback_is_a_home(throttle: Throttle, time: Time) -> None:
    await succeed(throttle, time, "::1", "alice")
    for n in range(100):
        throttle.failed(f"198.51.100.{n}", "alice")
    assert await succeed(throttle, time, "127.0.0.1", "alice") == 0
    await fail(throttle, time, "127.0.0.1", "alice", 100)
    with pytest.raises(Throttled):
        await throttle.admit("", "alice")


# -- many at once --


class Attempts:
    """Attempts with a password that is wrong or right, each in a task; answers are given by the
    test, as a slow hash would."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.tasks: list[asyncio.Task[bool]] = []
        self.admitted: list[tuple[str, str, asyncio.Future[bool]]] = []

    def start(self, address: str, user: str, times: int = 1) -> None:
        self.tasks += [asyncio.ensure_future(self._attempt(address, user)) for _ in range(times)]

    async def _attempt(self, address: str, user: str) -> bool:
        await self.throttle.admit(address, user)
        answer = asyncio.get_running_loop().create_future()
        self.admitted.append((address, user, answer))
        right = bool(await answer)
        (self.throttle.succeeded if right else self.throttle.failed)(address, user)
        return right

    def answer(self, right: Callable[[str], bool] = lambda user: False) -> int:
        """Answer those that are admitted; how many these are."""
        admitted, self.admitted = self.admitted, []
        for _, user, answer in admitted:
            answer.set_result(right(user))
        return len(admitted)

    def refused(self) -> int:
        done = [task for task in self.tasks if task.done()]
        return sum(isinstance(task.exception(), Throttled) for task in done)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_many_at_once_do_not_pass_before_the_first_has_failed(
    throttle: Throttle, time: Time
) -> None:
    attempts = Attempts(throttle)
    for n in range(500):
        attempts.start(EVIL, f"user{n}")
    await settle()
    assert attempts.answer() == 4
    await settle()
    assert attempts.refused() == 500 - 4 - module.WAITING
    guesses = []
    for _ in range(100):  # seconds
        await time.go_on(1)
        guesses.append(attempts.answer())
        await settle()
    assert guesses[:15] == [1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert sum(guesses) == 9
    assert max(guesses) == 1
    await attempts.stop()


async def test_new_ones_all_the_time_guess_no_more_than_twenty(
    throttle: Throttle, time: Time
) -> None:
    attempts, guesses = Attempts(throttle), 0
    for _ in range(600):
        attempts.start(EVIL, "alice", 5)
        await time.go_on(1)
        guesses += attempts.answer()
        await settle()
    assert guesses == 20
    assert attempts.refused() == 600 * 5 - 20


async def test_one_user_from_many_addresses_at_once(throttle: Throttle, time: Time) -> None:
    attempts, guesses = Attempts(throttle), 0
    for n in range(2000):
        attempts.start(f"10.0.{n // 250}.{n % 250}", "alice")
    for _ in range(120):
        await settle()
        guesses += attempts.answer()
        await time.go_on(1)
    assert guesses == module.USER * (4 + module.WAITING)
    await attempts.stop()


async def test_a_user_does_not_wait_behind_its_attackers(throttle: Throttle, time: Time) -> None:
    await fail(throttle, time, EVIL, "alice", 9)
    attackers = Attempts(throttle)
    attackers.start(EVIL, "alice", module.WAITING)
    await settle()
    alice = Attempts(throttle)
    alice.start(HOME, "alice")
    for _ in range(15):
        assert not alice.answer()
        await time.go_on(1)
        attackers.answer()
    await settle()
    assert alice.answer(lambda user: MAY) == 1
    await attackers.stop()
    await alice.stop()


async def test_after_a_restart_a_house_comes_in_one_after_the_other(
    throttle: Throttle, time: Time
) -> None:
    attempts, turns = Attempts(throttle), 0
    for n in range(200):
        attempts.start(OFFICE, f"user{n}", 3)
    await settle()
    while attempts.answer(lambda user: MAY):
        turns += 1
        await settle()
    assert all(task.result() for task in attempts.tasks)
    assert turns <= 150
    assert not time._sleeping
    assert throttle._counts == {}
    assert throttle._running == {}


async def test_those_at_home_do_not_wait_for_strangers(throttle: Throttle, time: Time) -> None:
    await succeed(throttle, time, HOME, "alice")
    strangers = Attempts(throttle)
    strangers.start(HOME, "bob", 50)
    await settle()
    assert await succeed(throttle, time, HOME, "alice") == 0
    await strangers.stop()


async def test_who_goes_away_while_waiting_leaves_nothing(throttle: Throttle, time: Time) -> None:
    attempts = Attempts(throttle)
    attempts.start(EVIL, "alice", 100)
    await settle()
    attempts.answer()
    await settle()
    await attempts.stop()
    await time.go_on(1000)
    assert await succeed(throttle, time, EVIL, "bob") == 0
    assert throttle._counts == {}
    assert throttle._failures == {}


async def test_a_spared_attempt_is_no_failure(throttle: Throttle, time: Time) -> None:
    for _ in range(100):
        await throttle.admit(EVIL, "alice")
        throttle.spared(EVIL, "alice")
    assert throttle._counts == {}


async def test_what_nobody_ends_is_spared(
    throttle: Throttle, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARED_S", 0.01)
    async with asyncio.timeout(10):
        for n in range(9):
            await throttle.admit(EVIL, f"user{n}")
    throttle.failed(EVIL, "user0")  # which then comes all the same, and counts
    assert list(throttle._failures) == [module._pair(EVIL, "user0")]


# -- bounds --


async def test_memory_is_bounded_and_the_least_recent_leave_first(
    throttle: Throttle, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENTRIES", 50)
    for n in range(200):
        throttle.failed(f"10.0.0.{n}", "x" * 10_000 + str(n))
        throttle.succeeded(f"10.1.0.{n}", f"user{n}")
    assert len(throttle._failures) == 50
    assert len(throttle._counts) == 150
    assert len(throttle._homes) == 50
    assert module._pair("10.0.0.199", "x" * 10_000 + "199") in throttle._failures
    assert module._pair("10.0.0.149", "x" * 10_000 + "149") not in throttle._failures


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "failed", "succeeded", "spared", "later", "cancel"]),
        st.sampled_from([HOME, EVIL, "::1", ""]),
        st.sampled_from(["alice", "bob", "\ud800"]),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(STEPS)
def test_counts_are_the_sum_of_what_has_failed(steps: list[tuple[str, str, str]]) -> None:
    async def run() -> None:
        time = Time()
        throttle = Throttle(CONFIG, time.clock, time.sleep)
        tasks: list[asyncio.Task[None]] = []
        for step, address, user in steps:
            match step:
                case "admit":
                    tasks.append(asyncio.ensure_future(throttle.admit(address, user)))
                    await settle()
                case "later":
                    await time.go_on(len(user) * 40)
                case "cancel":
                    if tasks:
                        tasks.pop().cancel()
                        await settle()
                case _:
                    getattr(throttle, step)(address, user)
                    await settle()
            sums: dict[object, int] = {}
            for pair, (failures, _) in throttle._failures.items():
                for key in module._keys(pair):
                    sums[key] = sums.get(key, 0) + failures
            assert sums == {k: c.failures for k, c in throttle._counts.items() if c.failures}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pair, running in list(throttle._running.items()):
            for _ in range(len(running)):
                throttle._end(pair)
        throttle._forget(time.now + CONFIG.forgotten_after_s)
        assert throttle._counts == {}
        assert throttle._running == {}

    asyncio.run(run())
