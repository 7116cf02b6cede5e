"""Literals and lines that want memory: before login they cost a few kilobytes, after it a bound."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pymap.limits import Limits

from .conftest import Connect, Spawn, alone

KIB, MIB = 1024, 1024 * 1024
PIECE = b"x" * (256 * KIB)


def flood(first: bytes, total: int) -> Iterator[bytes]:
    yield first
    for _ in range(total // len(PIECE)):
        yield PIECE


@pytest.mark.parametrize(
    "first",
    [
        b"a LOGIN {314572800+}\r\n",
        b"a LOGIN demouser {314572800+}\r\n",
        b"a APPEND INBOX {314572800+}\r\n",
        b"a XYZZY {314572800+}\r\n",
        b"a LOGIN {99999999999999999999+}\r\n",
        b"{314572800+}\r\n",
        b"a LOGIN ",  # a line without end
        b'a LOGIN "',
        b"",
    ],
)
async def test_before_login_300_mb_cost_nothing(
    spawn: Spawn, connect: Connect, first: bytes
) -> None:
    process = await spawn()
    await (await connect(process)).command(b"NOOP")
    process.forget_peak()
    before = process.peak
    client = await connect(process)
    await client.pour(flood(first, 300 * MIB))
    assert (await client.rest())[-1].startswith(b"* BYE")
    grown = process.peak - before
    print(f"{first!r}: {grown // KIB} KiB")
    assert grown < 2 * MIB
    await (await connect(process)).login()


async def test_before_login_the_answer_is_bye(imap_server, connect: Connect) -> None:
    server = await imap_server()
    for first in (b"a LOGIN {4097+}\r\n", b"a LOGIN " + b"x" * 9000, b"x" * 9000):
        client = await connect(server)
        client.send(first)
        assert (await client.rest())[-1].startswith(b"* BYE")
    await alone(server)


async def test_before_login_a_large_literal_is_refused_before_it_is_sent(
    imap_server, connect: Connect
) -> None:
    server = await imap_server()
    client = await connect(server)
    for size in (b"4097", b"314572800", b"9" * 19, b"9" * 20):
        answer = await client.command(b"LOGIN {%b}" % size)
        assert answer.condition == b"BAD"
        assert answer.untagged == []  # no continuation request
    await client.login()


@pytest.mark.parametrize("digits", [21, 30, 100, 4000])
async def test_before_login_a_size_with_too_many_digits_ends_or_is_bad(
    imap_server, connect: Connect, digits: int
) -> None:
    server = await imap_server()
    client = await connect(server)
    client.send(b"a LOGIN {" + b"9" * digits + b"}\r\n")
    assert (await client.response()).startswith((b"a BAD", b"* BYE"))


@pytest.mark.parametrize("digits", [20, 21, 30])
async def test_what_follows_a_size_with_too_many_digits_is_no_command(
    imap_server, connect: Connect, digits: int
) -> None:
    """The client is about to send a literal without waiting; none of it may be a command. RFC 7888 4"""
    server = await imap_server()
    client = await connect(server)
    client.send(b"a LOGIN {" + b"9" * digits + b"+}\r\nb CAPABILITY\r\n")
    answers = await client.rest() if digits == 20 else [await client.response()]
    assert answers[-1].startswith(b"* BYE")
    assert not any(answer.startswith(b"b ") for answer in answers)


async def test_before_login_many_small_literals_are_bounded(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await connect(server)
    await client.pour([b"a LOGIN", *([b" {4000+}\r\n" + b"x" * 4000] * 200)])
    assert (await client.rest())[-1].startswith(b"* BYE")
    client = await connect(server)
    await client.pour([b"a LOGIN", *([b" {0+}\r\n"] * 20_000)])
    assert (await client.rest())[-1].startswith((b"* BYE", b"a BAD"))


async def test_after_login_over_limit_literals_are_refused_and_the_session_goes_on(
    imap_server, connect: Connect
) -> None:
    server = await imap_server(limits=Limits(append=MIB, literal=64 * KIB, literals_total=96 * KIB))
    client = await (await connect(server)).login(b"INBOX")
    # Refused before it is sent; and counted away where it comes unasked.
    answer = await client.command(b"APPEND INBOX {1048577}")
    assert (answer.condition, answer.untagged) == (b"NO", [])
    assert b"[TOOBIG]" in answer.tagged
    answer = await client.append(b"x" * (MIB + 1))
    assert answer.condition == b"NO"
    assert b"[TOOBIG]" in answer.tagged
    answer = await client.command(b"SEARCH TEXT {65537}")
    assert (answer.condition, answer.untagged) == (b"BAD", [])
    answer = await client.command(b"SEARCH TEXT {65537+}\r\n" + b"t1 NOOP\r\n" * 7282)
    assert answer.condition == b"BAD"
    assert answer.untagged == []
    # Two literals, each small enough, together too large.
    half = b"{60000+}\r\n" + b"x" * 60_000
    assert (await client.command(b"SEARCH TEXT " + half + b" TEXT " + half)).condition == b"BAD"
    assert (await client.append(b"x" * MIB)).condition == b"OK"
    await client.ok(b"SEARCH TEXT {65536+}\r\n" + b"x" * 65536)
    await client.ok(b"NOOP")


async def test_after_login_300_mb_are_counted_away(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    client = await (await connect(process)).login()
    process.forget_peak()
    before = process.peak
    size = 300 * MIB
    for command in (b"a APPEND INBOX ", b"a CREATE "):
        assert await client.pour(flood(command + b"{%d+}\r\n" % size, size))
        client.send(b"\r\n")
        assert (await client.until(b"a")).condition in (b"NO", b"BAD")
    grown = process.peak - before
    print(f"after login: {grown // KIB} KiB")
    assert grown < 2 * MIB
    await client.ok(b"NOOP")


async def test_after_login_an_endless_line_ends(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    client = await (await connect(process)).login()
    process.forget_peak()
    before = process.peak
    await client.pour(flood(b"a LIST ", 100 * MIB))
    assert (await client.rest())[-1].startswith(b"* BYE")
    grown = process.peak - before
    print(f"endless line after login: {grown // KIB} KiB")
    assert grown < 4 * MIB


async def test_unfinished_uploads_leave_with_their_client(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await (await connect(server)).login()
    client.send(b"a APPEND INBOX {50000000+}\r\n" + PIECE * 8)
    client.reset()
    await alone(server)
    client = await (await connect(server)).login()
    assert (await client.ok(b"STATUS INBOX (MESSAGES)"))[0].endswith(b"(MESSAGES 0)\r\n")
