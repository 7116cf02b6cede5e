"""Guessing passwords without being counted, and keeping others from logging in."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from contextlib import suppress

import pytest

from pymap.auth.authenticator import Authenticator, Login
from pymap.auth.channel import Channel
from pymap.auth.passwords import hash
from pymap.backend.dict import DictBackend
from pymap.config import AuthConfig

PRIVATE = Channel("192.0.2.1", private=True)


class Counted(Authenticator):
    def __init__(self, *users: tuple[str, str]) -> None:
        super().__init__(DictBackend(dict(users)).users, AuthConfig())

    @property
    def failures(self) -> int:
        return sum(n for n, _ in self._throttle._failures.values())


async def _cut_off(work: asyncio.Task[object], authenticator: Authenticator) -> None:
    """Cancel as the engine does when a connection is lost, once a thread computes; and wait until
    the thread has computed."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert not work.done()
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    for threads in (authenticator._passwords._threads, authenticator._keys._thread):
        await asyncio.get_running_loop().run_in_executor(threads, lambda: None)
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_guess_counts_though_the_connection_is_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever guesses and goes away before the answer has guessed all the same: it is counted and
    logged. A password that was right lately is answered at once, a wrong one after the time of a
    hash, so no answer in 20 ms is an answer: who then cuts the connection may guess without end."""
    authenticator = Counted(("alice", hash("right", "SCRAM-SHA-256")))
    alice = Login("alice", "alice")
    assert await authenticator.login(PRIVATE, "alice", "right") == alice
    caplog.clear()
    for n in range(3):
        guess = authenticator.login(PRIVATE, "alice", f"guess {n}")
        await _cut_off(asyncio.ensure_future(guess), authenticator)
    assert authenticator.failures == 3
    assert caplog.text.count("login failed: address=192.0.2.1") == 3


async def test_a_guess_by_scram_counts_though_the_connection_is_cut() -> None:
    """The same by SCRAM, where a right proof is answered at once in any case, and a wrong one only
    behind all others that wait for the one thread."""
    authenticator = Counted(("alice", hash("right", "SCRAM-SHA-256")))
    exchange = authenticator.start(PRIVATE, "SCRAM-SHA-256")
    challenge = await exchange.step(b"n,,n=alice,r=abc")
    assert isinstance(challenge, bytes)
    nonce = challenge.partition(b",")[0]
    final = b"c=biws,%b,p=%b" % (nonce, b64encode(b"x" * 32))
    await _cut_off(asyncio.ensure_future(exchange.step(final)), authenticator)
    exchange.cancel()
    assert authenticator.failures == 1


@pytest.mark.parametrize(
    ("addresses", "name"),
    [(["192.0.2.1"] * 4, "n=somebody"), ([f"203.0.113.{n}" for n in range(20)], "n=alice")],
    ids=["of one address", "of one user"],
)
async def test_an_exchange_that_nobody_goes_on_with_keeps_nobody_out(
    addresses: list[str], name: str
) -> None:
    """Few attempts may be under way at once, so none may be kept there: a SCRAM exchange waits for
    its client between two messages, and must not take the turn of others until all that the client
    has to send is there. Today four of them from an address keep everybody there waiting who has
    not logged in from it lately, and twenty do it to a user from anywhere."""
    authenticator = Counted(("alice", "secret"))
    held = []
    for address in addresses:
        exchange = authenticator.start(Channel(address, private=True), "SCRAM-SHA-256")
        await exchange.step(b"n,,%b,r=abc" % name.encode())
        held.append(exchange)
    try:
        async with asyncio.timeout(2):
            login = await authenticator.login(PRIVATE, "alice", "secret")
        assert login == Login("alice", "alice")
    finally:
        for exchange in held:
            exchange.cancel()
