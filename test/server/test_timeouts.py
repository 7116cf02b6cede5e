"""Time and patience have an end, and the end is BYE."""

from __future__ import annotations

import asyncio
import time

import pytest

from pymap.limits import Limits

from .conftest import Connect, alone


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"a NOOP\r\n",
        b"a LOG",
        b"a AUTHENTICATE PLAIN\r\n",
        b"a LOGIN {5}\r\n",
        b"a LOGIN {5+}\r\nde",
    ],
    ids=["nothing", "noop", "half-a-line", "authenticate", "literal", "half-a-literal"],
)
async def test_login_timeout(imap_server, connect: Connect, said: bytes) -> None:
    server = await imap_server(limits=Limits(login_timeout_s=0.3))
    client = await connect(server)
    started = time.perf_counter()
    client.send(said)
    assert (await client.rest())[-1].startswith(b"* BYE")
    assert 0.2 < time.perf_counter() - started < 3
    await alone(server)


async def test_activity_does_not_prolong_the_login_time(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(login_timeout_s=0.4))
    client = await connect(server)
    client.send(b"a NOOP\r\n")
    heard = 0
    async with asyncio.timeout(5):
        while not (line := await client.line()).startswith(b"* BYE"):
            assert line.startswith(b"a OK")
            heard += 1
            await asyncio.sleep(0.02)
            client.send(b"a NOOP\r\n")
    assert heard > 2
    await client.close()
    await alone(server)


async def test_logged_in_ends_the_login_time(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(login_timeout_s=0.2))
    client = await (await connect(server)).login()
    stranger = await connect(server)
    assert (await stranger.rest())[-1].startswith(b"* BYE")  # that long
    await client.ok(b"NOOP")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"a IDLE\r\n",
        b"a SELECT INBOX\r\nb IDLE\r\n",
        b"a SEL",
        b"a APPEND INBOX {10}\r\n",
        b"a APPEND INBOX {10+}\r\nxy",
    ],
    ids=["nothing", "idle", "idle-selected", "half-a-line", "literal", "half-a-literal"],
)
async def test_idle_timeout(imap_server, connect: Connect, said: bytes) -> None:
    server = await imap_server(limits=Limits(login_timeout_s=0.3, idle_timeout_s=0.4))
    client = await (await connect(server)).login()
    client.send(said)
    assert (await client.rest())[-1].startswith(b"* BYE")
    await alone(server)


async def test_activity_prolongs_the_idle_time(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(login_timeout_s=0.1, idle_timeout_s=1.2))
    active = await (await connect(server)).login()
    silent = await (await connect(server)).login()
    ended = asyncio.ensure_future(silent.rest())
    while not ended.done():
        await active.ok(b"NOOP")
        await asyncio.sleep(0.02)
    assert ended.result()[-1].startswith(b"* BYE")
    await active.ok(b"NOOP")


async def test_failed_logins(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(failed_logins=3))
    attempts = (
        b"LOGIN demouser wrong",
        b"AUTHENTICATE PLAIN AGRlbW91c2VyAHdyb25n",
        b"LOGIN nobody demopass",
    )
    client = await connect(server)
    for attempt in attempts[:2]:
        answer = await client.command(attempt)
        assert b"NO [AUTHENTICATIONFAILED]" in answer.tagged
    client.send(b"last " + attempts[2] + b"\r\n")
    rest = await client.rest()
    assert any(response.startswith(b"* BYE") for response in rest)
    assert not any(b" OK" in response for response in rest)
    await alone(server)


async def test_failed_logins_for_other_users_count_too(imap_server, connect: Connect) -> None:
    """An authorization identity that is not one's own: always refused, so not without end."""
    server = await imap_server(limits=Limits(failed_logins=3))
    client = await connect(server)
    client.send(b"a AUTHENTICATE PLAIN b3RoZXIAZGVtb3VzZXIAZGVtb3Bhc3M=\r\n" * 10)
    async with asyncio.timeout(5):
        rest = await client.rest()
    assert any(response.startswith(b"* BYE") for response in rest)
    assert len(rest) <= 4


async def test_a_good_login_is_taken_after_failed_ones(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(failed_logins=3))
    client = await connect(server)
    for _ in range(2):
        assert (await client.command(b"LOGIN demouser wrong")).condition == b"NO"
    await client.login()


@pytest.mark.parametrize("login", [False, True])
async def test_bad_commands(imap_server, connect: Connect, login: bool) -> None:
    server = await imap_server(limits=Limits(bad_commands=5))
    client = await connect(server)
    if login:
        await client.login()
    for _ in range(4):
        assert (await client.command(b"XYZZY")).condition == b"BAD"
    await client.ok(b"NOOP")  # one good one starts the count anew
    client.send(b"x XYZZY\r\n" * 20)
    rest = await client.rest()
    assert len(rest) == 6
    assert all(response.startswith(b"x BAD") for response in rest[:5])
    assert rest[5].startswith(b"* BYE")
    await alone(server)


@pytest.mark.parametrize(
    "bad",
    [
        b"\r\n",
        b"\n",
        b"* OK hello\r\n",
        b"GET / HTTP/1.1\r\n",
        b"a LOGIN {5000}\r\n",
        b"a AUTHENTICATE PLAIN !\r\n",
        b"a AUTHENTICATE PLAIN\r\n*\r\n",
        b"a SELECT INBOX\r\n",
        b"\xff\xfe\r\n",
        b"a\r\n",
    ],
)
async def test_every_kind_of_bad_command_counts(imap_server, connect: Connect, bad: bytes) -> None:
    server = await imap_server(limits=Limits(bad_commands=5))
    client = await connect(server)
    client.send(bad * 10)
    rest = [response for response in await client.rest() if not response.startswith(b"+")]
    assert rest[-1].startswith(b"* BYE")
    assert len(rest) == 6
    await alone(server)
