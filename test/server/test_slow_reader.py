"""A client that asks for much and reads nothing costs the server a few megabytes, not all of it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import time

import pytest

from pymap.limits import Limits

from .client import Client, becomes
from .conftest import Connect, Spawn, alone
from .process import Process

MIB = 1024 * 1024
GROWTH = 12 * MIB  # a few chunks, and what the allocator rounds up


def large(size: int) -> bytes:
    line = b"".join(b"%06d " % n for n in range(10)) + b"\r\n"
    return (b"Subject: large\r\n\r\n" + line * (size // len(line) + 1))[:size]


async def fill(client: Client, message: bytes, doublings: int) -> None:
    """One upload, then copies, which share its octets."""
    assert (await client.append(message)).condition == b"OK"
    await client.ok(b"SELECT INBOX")
    for _ in range(doublings):
        await client.ok(b"COPY 1:* INBOX")
        await client.ok(b"NOOP")


def deaf(process: Process) -> socket.socket:
    """A small window, so that the server meets the deaf ear early."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    sock.connect(process.addresses[0])
    return sock


async def listen_to_nothing(process: Process, connect: Connect, commands: bytes) -> Client:
    """Log in, send commands, and do not read; wait until the server has stopped working."""
    client = await (await connect(process, sock=deaf(process), limit=4096)).login(b"INBOX")
    client.send(commands)
    await settled(process)
    return client


async def settled(process: Process) -> None:
    """Until the server uses no more CPU time."""
    quiet, before = 0, process.cpu_s
    async with asyncio.timeout(15):
        while quiet < 4:
            await asyncio.sleep(0.05)
            now = process.cpu_s
            quiet, before = (quiet + 1 if now == before else 0), now


async def test_fetch_of_512_mb_waits_for_its_reader(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    message = large(8 * MIB)
    other = await (await connect(process)).login()
    await fill(other, message, 6)
    process.forget_peak()
    before = process.memory
    client = await listen_to_nothing(process, connect, b"a FETCH 1:* BODY.PEEK[]\r\n")
    grown = process.peak - before
    print(f"FETCH of 64 messages of 8 MiB unread: {grown // 1024} KiB")
    assert grown < GROWTH
    started = time.perf_counter()
    await other.ok(b"NOOP")
    assert time.perf_counter() - started < 0.5
    # It reads at last, and everything is there.
    digest = hashlib.sha256(message).digest()
    for seq in range(1, 65):
        assert await client.line() == b"* %d FETCH (BODY[] {%d}\r\n" % (seq, len(message))
        assert hashlib.sha256(await client.read(len(message))).digest() == digest
        assert await client.line() == b")\r\n"
    assert (await client.line()).startswith(b"a OK")
    assert process.peak - before < GROWTH


async def test_pipelined_fetches_of_a_60_mb_message(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    other = await (await connect(process)).login()
    await fill(other, large(60 * MIB), 0)
    process.forget_peak()
    before = process.memory
    commands = b"".join(b"a%d FETCH 1 BODY.PEEK[]\r\n" % n for n in range(500))
    await listen_to_nothing(process, connect, commands)
    grown = process.peak - before
    print(f"500 pipelined FETCHes of 60 MiB unread: {grown // 1024} KiB")
    assert grown < GROWTH
    await other.ok(b"NOOP")


# What is not the message itself must not be made for all messages before the first is read.
PARTIALS = b" ".join(b"BODY.PEEK[HEADER]<%d.9999999>" % n for n in range(40))
BINARIES = b" ".join(b"BINARY.PEEK[1]<%d.99999999>" % n for n in range(40))


@pytest.mark.parametrize(
    "items",
    [
        b"BODY.PEEK[HEADER]",
        b"RFC822.HEADER",
        b"BODY.PEEK[HEADER.FIELDS (X-LONG)]",
        b"BODY.PEEK[HEADER.FIELDS.NOT (X-OTHER)]",
        b"(" + PARTIALS + b")",
        b"(FLAGS BODY.PEEK[HEADER] BODY.PEEK[1])",
    ],
    ids=["header", "rfc822.header", "fields", "fields-not", "40-partials", "with-content"],
)
async def test_large_headers_unread(spawn: Spawn, connect: Connect, items: bytes) -> None:
    process = await spawn()
    other = await (await connect(process)).login()
    await fill(other, b"X-Long: " + b"y" * 100 + b"\r\n " + b"y" * (2 * MIB) + b"\r\n\r\nbody", 5)
    process.forget_peak()
    before = process.memory
    await listen_to_nothing(process, connect, b"a FETCH 1:* " + items + b"\r\n")
    grown = process.peak - before
    print(f"headers of 32 x 2 MiB unread: {grown // 1024} KiB")
    assert grown < 2 * GROWTH
    await other.ok(b"NOOP")


async def test_binary_partials_unread(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    other = await (await connect(process)).login()
    body = b"QUJDREVG" * 9 + b"\r\n"
    message = (
        b"Content-Transfer-Encoding: base64\r\nContent-Type: image/png\r\n\r\n" + body * 70_000
    )
    await fill(other, message, 0)
    process.forget_peak()
    before = process.memory
    await listen_to_nothing(process, connect, b"a FETCH 1 (" + BINARIES + b")\r\n")
    grown = process.peak - before
    print(f"40 BINARY partials of 4 MiB unread: {grown // 1024} KiB")
    assert grown < 4 * GROWTH


async def test_structures_unread(spawn: Spawn, connect: Connect) -> None:
    """BODYSTRUCTURE of a message with 9,000 parts is some 500 KiB."""
    process = await spawn()
    other = await (await connect(process)).login()
    message = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * 9000
    await fill(other, message, 7)
    process.forget_peak()
    before = process.memory
    await listen_to_nothing(process, connect, b"a FETCH 1:* BODYSTRUCTURE\r\n")
    grown = process.peak - before
    print(f"128 BODYSTRUCTUREs of 9,000 parts unread: {grown // 1024} KiB")
    assert grown < 2 * GROWTH


async def test_search_of_large_headers_keeps_few_at_once(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    other = await (await connect(process)).login()
    await fill(other, b"X-Long: " + b"y" * 100 + b"\r\n " + b"y" * (4 * MIB) + b"\r\n\r\nbody", 6)
    process.forget_peak()
    before = process.memory
    await other.ok(b"SEARCH SUBJECT nothing")
    grown = process.peak - before
    print(f"SEARCH over 64 headers of 4 MiB: {grown // 1024} KiB")
    assert grown < 4 * GROWTH


async def test_idle_that_is_not_read_is_not_written_to_without_bound(
    spawn: Spawn, connect: Connect
) -> None:
    """Someone changes all flags again and again; a client in IDLE does not read of it."""
    process = await spawn()
    other = await (await connect(process)).login()
    await fill(other, b"Subject: small\r\n\r\nx", 14)
    deaf_ones = [await listen_to_nothing(process, connect, b"a IDLE\r\n") for _ in range(4)]
    process.forget_peak()
    before = process.memory
    for n in range(30):
        await other.ok(b"STORE 1:* FLAGS.SILENT (k%d)" % (n % 7))
    grown = process.peak - before
    print(f"30 STOREs of 16,384 told to 4 deaf IDLEs: {grown // 1024} KiB")
    assert grown < 2 * GROWTH
    # One that reads again learns the last state, in a stream without a gap.
    client = deaf_ones[0]
    client.send(b"DONE\r\n")
    answer = await client.until(b"a")
    assert answer.condition == b"OK"
    told = [r for r in answer.untagged if re.match(rb"\* 16384 FETCH", r)]
    assert told
    assert b"k1" in told[-1]  # 29 % 7


async def test_pipelined_small_commands_unread(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    client = await connect(process, sock=deaf(process), limit=4096)
    process.forget_peak()
    before = process.memory
    client.send(b"a CAPABILITY\r\n" * 300_000)
    await settled(process)
    grown = process.peak - before
    print(f"300,000 CAPABILITYs unread: {grown // 1024} KiB")
    assert grown < 2 * MIB


async def test_write_timeout_cuts_off(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(write_timeout_s=0.5))
    other = await (await connect(server)).login()
    await fill(other, large(8 * MIB), 0)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.addresses[0])
    client = await (await connect(server, sock=sock, limit=4096)).login(b"INBOX")
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert await becomes(lambda: len(server.clients) == 1)
    await other.ok(b"NOOP")
    await other.close()
    await alone(server)


async def test_a_slow_reader_is_no_deaf_one(imap_server, connect: Connect) -> None:
    """It reads a little now and then, for longer than the write timeout: it gets everything."""
    server = await imap_server(limits=Limits(write_timeout_s=0.5))
    other = await (await connect(server)).login()
    message = large(3 * MIB)
    await fill(other, message, 0)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.addresses[0])
    client = await (await connect(server, sock=sock, limit=4096)).login(b"INBOX")
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert (await client.line()).startswith(b"* 1 FETCH")
    got = b""
    for _ in range(16):
        got += await client.read(len(message) // 16)
        await asyncio.sleep(0.06)
    got += await client.read(len(message) - len(got))
    assert got == message
    assert (await client.until(b"a")).condition == b"OK"


async def test_a_deaf_client_that_is_told_bye_is_cut_off(imap_server, connect: Connect) -> None:
    """After BYE it reads a little, so that writing resumes for a moment, then no more."""
    server = await imap_server(limits=Limits(write_timeout_s=0.5, bad_commands=2))
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.addresses[0])
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_recv(sock, 4096)
        await loop.sock_sendall(sock, b"a LOGIN demouser demopass\r\nb SELECT INBOX\r\n")
        (client,) = server.clients
        client.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
        )
        client.transport.set_write_buffer_limits(high=64 * 1024, low=60 * 1024)
        assert await becomes(lambda: client.session.view is not None)
        client.write(b"* OK " + b"x" * 100_000 + b"\r\n")
        await loop.sock_sendall(sock, b"c NOOP\r\n")
        assert await becomes(lambda: client._paused)
        client._say_bye("The end")
        while client._paused:  # it reads until writing resumes
            await loop.sock_recv(sock, 4096)
        await alone(server)
    finally:
        sock.close()


async def test_idle_timeout_does_not_cut_a_literal(imap_server, connect: Connect) -> None:
    """A FETCH that waits for a slow reader is no idleness, also after an IDLE; and BYE has no
    place in the middle of a literal."""
    server = await imap_server(limits=Limits(login_timeout_s=0.2, idle_timeout_s=0.5))
    other = await (await connect(server)).login()
    message = large(8 * MIB)
    await fill(other, message, 0)
    client = await (await connect(server, limit=4096)).login(b"INBOX")
    await client.idle()
    client.send(b"DONE\r\n")
    await client.until(b"idle")
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert (await client.line()).startswith(b"* 1 FETCH")
    # The other one, who is silent too, shows that the time is over.
    assert (await other.rest())[-1].startswith(b"* BYE")
    assert await client.read(len(message)) == message
    assert await client.line() == b")\r\n"
    assert (await client.line()).startswith(b"a OK")
