"""COMPRESS=DEFLATE over real sockets: what is compressed when, hostile streams, slow readers, memory.

RFC 4978, RFC 8437 4.1
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import random
import ssl
import time
import zlib

import pytest

from pymap.imap.client import Client as Peer
from pymap.imap.compress import PIECE, Compression, Corrupt
from pymap.limits import Limits

from .client import Client, becomes
from .conftest import Connect, Spawn, alone
from .test_slow_reader import deaf, fill, large, settled

MIB = 1024 * 1024


def raw(octets: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(octets) + deflater.flush(flush)


def drain(compression: Compression) -> bytes:
    found = b""
    while compression.waits:
        found += compression.inflate()
    return found


# -- the streams by themselves --


@pytest.mark.parametrize("step", [1, 2, 7, 1000, 1 << 20])
def test_any_cuts_give_the_same(step: int) -> None:
    random.seed(step)
    text = b"".join(b"a%d NOOP %d\r\n" % (n, random.getrandbits(40)) for n in range(3000))
    deflater = zlib.compressobj(wbits=-15)
    sent = b""
    for start in range(0, len(text), 999):
        sent += deflater.compress(text[start : start + 999]) + deflater.flush(zlib.Z_SYNC_FLUSH)
    compression, got = Compression(), b""
    for start in range(0, len(sent), step):
        compression.receive(sent[start : start + step])
        got += drain(compression)
    assert got == text


def test_a_bomb_is_inflated_a_piece_at_a_time() -> None:
    compression = Compression()
    compression.receive(raw(bytes(64 * MIB)))
    total = 0
    while compression.waits:
        piece = compression.inflate()
        assert len(piece) <= PIECE
        total += len(piece)
    assert total == 64 * MIB


def test_what_is_inside_the_inflater_is_told() -> None:
    """A piece may be full when all that came is consumed, and more of it is still to be told."""
    for extra in range(300):
        compression = Compression()
        compression.receive(raw(b"x" * (PIECE + extra)))
        assert drain(compression) == b"x" * (PIECE + extra)


def test_a_stream_goes_on_after_a_rest() -> None:
    compression, inflater = Compression(), zlib.decompressobj(-15)
    for n in range(20):
        text = b"* %d EXISTS\r\n" % n * 50
        assert inflater.decompress(compression.deflate(text)) == text
        if n % 3 == 0:
            compression.rest()


@pytest.mark.parametrize(
    "octets",
    [b"a NOOP\r\n", b"\xff" * 40, b"\x06\x00" * 20, raw(b"a NOOP\r\n", zlib.Z_FINISH) + b"more"],
    ids=["plain", "ff", "bad-type", "behind-the-end"],
)
def test_what_is_no_deflate_is_corrupt(octets: bytes) -> None:
    compression = Compression()
    compression.receive(octets)
    with pytest.raises(Corrupt):
        drain(compression)


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FINISH])
def test_what_stands_behind_the_end_is_left_as_it_is(flush: int) -> None:
    compression = Compression()
    compression.receive(raw(b"a UNAUTHENTICATE\r\n", flush) + b"b LOGIN x y\r\n")
    assert compression.inflate() == b"a UNAUTHENTICATE\r\n"
    sent, received = compression.end(b"a OK\r\n")
    assert received == b"b LOGIN x y\r\n"
    inflater = zlib.decompressobj(-15)
    assert inflater.decompress(sent + b"* OK plain\r\n") == b"a OK\r\n"
    assert inflater.eof
    assert inflater.unused_data == b"* OK plain\r\n"


# -- the command --


async def test_the_tagged_ok_is_the_last_plain_line(imap_server, connect: Connect) -> None:
    client = await connect(await imap_server())
    assert b"COMPRESS" not in client.greeting
    answer = await client.command(b"LOGIN demouser demopass")
    assert b" COMPRESS=DEFLATE " in answer.tagged
    await client.compress()
    assert await client.ok(b"SELECT INBOX")
    answer = await client.append(b"Subject: x\r\n\r\n" + os.urandom(1000).hex().encode())
    assert answer.condition == b"OK"
    fetched = (await client.ok(b"FETCH 1 (UID RFC822.SIZE)"))[0]
    assert b"RFC822.SIZE 2014" in fetched


async def test_arguments_and_states(imap_server, connect: Connect) -> None:
    client = await connect(await imap_server())
    assert (await client.command(b"COMPRESS DEFLATE")).condition == b"BAD"
    await client.login()
    for wrong in (b"", b" ", b" LZ4", b" DEFLATE DEFLATE", b' "DEFLATE"'):
        assert (await client.command(b"COMPRESS" + wrong)).condition == b"BAD"
    client.send(b"a compress deflate\r\n")  # in any case
    assert (await client.until(b"a")).condition == b"OK"


async def test_compressing_twice(imap_server, connect: Connect) -> None:
    client = await (await connect(await imap_server())).login()
    await client.compress()
    answer = await client.command(b"COMPRESS DEFLATE")
    assert answer.tagged.split(b" ", 1)[1].startswith(b"NO [COMPRESSIONACTIVE]")
    await client.ok(b"NOOP")


async def test_what_came_with_the_command_is_compressed(imap_server, connect: Connect) -> None:
    client = await (await connect(await imap_server())).login()
    client.writer.write(b"c COMPRESS DEFLATE\r\n" + raw(b"d NOOP\r\ne NOOP\r\n"))
    assert (await client.until(b"c")).condition == b"OK"
    client.inflater = zlib.decompressobj(-15)
    client.buffer[:] = client.inflater.decompress(client.buffer)
    assert (await client.until(b"d")).condition == b"OK"
    assert (await client.until(b"e")).condition == b"OK"


async def test_under_tls(imap_server, connect: Connect, server_tls, client_tls) -> None:
    client = await connect(await imap_server(ssl_context=server_tls))
    await client.ok(b"STARTTLS")
    await client.start_tls(client_tls)
    await client.login(b"INBOX")
    await client.compress()
    assert (await client.command(b"STARTTLS")).condition == b"BAD"
    await client.ok(b"NOOP")
    assert isinstance(client.writer.get_extra_info("ssl_object"), ssl.SSLObject)


async def test_one_octet_at_a_time(imap_server, connect: Connect) -> None:
    client = await (await connect(await imap_server())).login()
    await client.compress()
    for octet in raw(b"a APPEND INBOX {5+}\r\nx: y\n\r\nb NOOP\r\n"):
        client.writer.write(bytes((octet,)))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.until(b"a")).condition == b"OK"
    assert (await client.until(b"b")).condition == b"OK"


async def test_batches_are_flushed_once(imap_server, connect: Connect) -> None:
    client = await (await connect(await imap_server())).login(b"INBOX")
    await client.compress()
    client.send(b"".join(b"n%d NOOP\r\n" % n for n in range(100)))
    octets = b""
    while (got := zlib.decompressobj(-15).decompress(octets)).count(b"\r\n") < 100:
        octets += await client.reader.read(1 << 16)
    assert got.count(b" OK ") == 100
    assert octets.count(b"\0\0\xff\xff") <= 3
    assert len(octets) < len(got) / 5


@pytest.mark.parametrize("flush", [True, False], ids=["finish", "flush"])
async def test_unauthenticate_ends_it(imap_server, connect: Connect, flush: bool) -> None:
    """Also where the next login is on its way already.   RFC 8437 3, 4.1"""
    server = await imap_server()
    client = await (await connect(server)).login(b"INBOX")
    await client.compress()
    if flush:
        client.end_compression(b"u UNAUTHENTICATE\r\n")
    else:
        client.send(b"u UNAUTHENTICATE\r\n")
        client.deflater = None
    client.send(b"v LOGIN demouser demopass\r\n")
    assert (await client.until(b"u")).condition == b"OK"
    inflater = client.inflater
    while not inflater.eof:
        await client._more()
    client.inflater = None
    client.buffer[:] = inflater.unused_data + client.buffer
    assert (await client.until(b"v")).condition == b"OK"
    await client.ok(b"NOOP")
    await client.compress()
    await client.ok(b"SELECT INBOX")


# -- IDLE --


async def test_idle_is_woken(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client, writer = [await (await connect(server)).login(b"INBOX") for _ in range(2)]
    await client.compress()
    await client.idle()
    for count in range(1, 6):
        assert (await writer.append(b"Subject: x\r\n\r\n")).condition == b"OK"
        assert await client.line() == b"* %d EXISTS\r\n" % count
        assert (await client.line()).endswith(b" RECENT\r\n")
    client.send(b"DONE\r\nnext NOOP\r\n")
    assert (await client.until(b"idle")).condition == b"OK"
    assert (await client.until(b"next")).condition == b"OK"


async def test_the_end_of_the_server_is_told(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await (await connect(server)).login(b"INBOX")
    await client.compress()
    await client.idle()
    assert server.kick(user="demouser") == 1
    assert (await client.rest())[-1].startswith(b"* BYE")
    await alone(server)


# -- hostile --


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("octets", [b"\xff" * 64, b"a NOOP\r\n", raw(b"", zlib.Z_FINISH) + b"a"])
async def test_corrupt_data_is_bye(
    imap_server, connect: Connect, caplog, octets: bytes, idle: bool
) -> None:
    server = await imap_server()
    client = await (await connect(server)).login(b"INBOX")
    await client.compress()
    if idle:
        await client.idle()
    with caplog.at_level(logging.INFO):
        client.writer.write(octets)
        assert (await client.rest())[-1] == b"* BYE Malformed compressed data\r\n"
        await alone(server)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert any("not DEFLATE" in record.getMessage() for record in caplog.records)


async def test_bombs_cost_no_memory_and_no_turns(spawn: Spawn, connect: Connect) -> None:
    """A line without an end, a literal over the limit, a thousand commands in a packet, blocks of
    nothing: 64 KiB of each."""
    process = await spawn()
    other = await (await connect(process)).login(b"INBOX")
    bombs = {
        "line": raw(b"a" * 64 * MIB),
        "literal": raw(b"a APPEND INBOX {500000000+}\r\n" + bytes(500_000_000)),
        "commands": raw(b"a NOOP\r\n" * 200_000),
        "nothing": b"\0\0\0\xff\xff" * 200_000,
    }
    process.forget_peak()
    before = process.memory
    for name, bomb in bombs.items():
        client = await (await connect(process)).login(b"INBOX")
        await client.compress()
        sending = asyncio.create_task(client.pour([bomb]))
        slowest = 0.0
        for _ in range(50):
            started = time.perf_counter()
            await other.ok(b"NOOP")
            slowest = max(slowest, time.perf_counter() - started)
        await sending
        grown = process.peak - before
        print(f"{name}: {len(bomb) // 1024} KiB: {grown // 1024} KiB, NOOP {slowest * 1000:.0f} ms")
        assert grown < 12 * MIB
        assert slowest < 0.5
        await client.close()


async def test_a_bomb_behind_a_running_command_waits_compressed(
    spawn: Spawn, connect: Connect
) -> None:
    """It idles, and so takes one line at a time; what follows a command that waits stays small."""
    process = await spawn()
    other = await (await connect(process)).login()
    await fill(other, large(8 * MIB), 3)
    client = await (await connect(process, sock=deaf(process), limit=4096)).login(b"INBOX")
    await client.compress()
    process.forget_peak()
    before = process.memory
    client.send(b"f FETCH 1:* BODY.PEEK[]\r\n")
    await client.pour([raw(b"x" * 64 * MIB)])
    await settled(process)
    grown = process.peak - before
    print(f"a FETCH unread and a bomb of 64 MiB behind it: {grown // 1024} KiB")
    assert grown < 12 * MIB
    await other.ok(b"NOOP")


# -- slow readers --


async def test_a_fetch_waits_for_its_reader(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    # Not to be compressed: base64 of noise.
    random.seed(1)
    message = b"Subject: large\r\n\r\n" + random.randbytes(4 * MIB).hex().encode()
    other = await (await connect(process)).login()
    await fill(other, message, 4)
    client = await (await connect(process, sock=deaf(process), limit=4096)).login(b"INBOX")
    await client.compress()
    process.forget_peak()
    before = process.memory
    client.send(b"a FETCH 1:* BODY.PEEK[]\r\n")
    await settled(process)
    grown = process.peak - before
    print(f"FETCH of 16 messages of 8 MiB, compressed, unread: {grown // 1024} KiB")
    assert grown < 12 * MIB
    digest = hashlib.sha256(message).digest()
    for seq in range(1, 17):
        assert await client.line() == b"* %d FETCH (BODY[] {%d}\r\n" % (seq, len(message))
        assert hashlib.sha256(await client.read(len(message))).digest() == digest
        assert await client.line() == b")\r\n"
    assert (await client.until(b"a")).condition == b"OK"


async def test_large_answers_leave_the_loop_to_others(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    other, client = [await (await connect(process)).login() for _ in range(2)]
    random.seed(1)
    await fill(other, b"Subject: large\r\n\r\n" + random.randbytes(8 * MIB).hex().encode(), 1)
    await client.ok(b"SELECT INBOX")
    await client.compress()
    began = time.perf_counter()
    client.send(b"a FETCH 1:* BODY.PEEK[]\r\n")
    reading = asyncio.create_task(client.until(b"a"))
    slowest = 0.0
    while not reading.done():
        started = time.perf_counter()
        await other.ok(b"NOOP")
        slowest = max(slowest, time.perf_counter() - started)
    took = time.perf_counter() - began
    print(f"32 MiB compressed in {took:.1f} s, the others' slowest NOOP {slowest * 1000:.0f} ms")
    assert slowest < 0.5
    await reading


# -- what it costs --


async def test_memory_of_1000_idle_connections(spawn: Spawn, connect: Connect) -> None:
    process = await spawn("--limit", "connections_per_user=1001")
    clients = [await (await connect(process)).login(b"INBOX") for _ in range(1000)]
    plain = process.memory
    for client in clients:
        await client.compress()
        for _ in range(3):
            await client.ok(b"CAPABILITY")
    compressed = process.memory
    for client in clients:
        await client.idle()
    gc.collect()
    idle = process.memory
    print(
        f"compression: {(compressed - plain) / 1024 / 1000:.1f} KiB a connection,"
        f" {(idle - plain) / 1024 / 1000:.1f} in IDLE"
    )
    assert compressed - plain < 1000 * 80 * 1024
    writer = clients.pop()
    writer.send(b"DONE\r\n")
    assert (await writer.until(b"idle")).condition == b"OK"
    assert (await writer.append(b"Subject: news\r\n\r\n")).condition == b"OK"
    for client in clients:
        assert await client.line() == b"* 1 EXISTS\r\n"


async def test_the_trace_shows_text_and_the_log_counts_octets_sent(
    imap_server, connect: Connect, caplog
) -> None:
    server = await imap_server(limits=Limits())
    with caplog.at_level(logging.DEBUG):
        client = await (await connect(server)).login(b"INBOX")
        await client.compress()
        (info,) = server.sessions()
        before = info.sent
        await client.ok(b'LIST "" *')
        answer = await client.command(b"CAPABILITY")
        text = b"".join(answer.untagged) + answer.tagged
        await client.ok(b"CAPABILITY")
        (info,) = server.sessions()
        await client.close()
        await alone(server)
    lines = [record.getMessage() for record in caplog.records]
    assert any("C: t4 LIST" in line for line in lines)
    assert any("S: * LIST" in line for line in lines)
    assert info.sent - before < 2 * len(text)
    assert isinstance(client, Client)
    assert await becomes(lambda: not server.clients)


async def test_progress_that_is_told_between_pieces(
    imap_server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sign of life comes behind the large answer that leaves meanwhile, none of it twice."""
    server = await imap_server()
    client = await (await connect(server)).login()
    await client.compress()
    (peer,) = server.clients
    wait = Peer._rest

    async def interrupted(self: Peer) -> None:
        self._tell_progress()
        await wait(self)

    monkeypatch.setattr(Peer, "_rest", interrupted)
    lines = [b"* %d EXISTS\r\n" % n for n in range(30_000)]
    peer.session.running_tag = "a"
    peer.write(b"".join(lines))
    await peer.breathe()
    peer.session.running_tag = None
    client.send(b"b NOOP\r\n")
    got = []
    while not (line := await client.line()).startswith(b"b OK"):
        got.append(line)
    signs = [line for line in got if line.startswith(b"* OK [INPROGRESS ")]
    assert signs
    assert [line for line in got if line not in signs] == lines


async def test_idle_lets_others_have_their_turn(
    imap_server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """13,000 empty flushes are one read, and each is a step of the inflater."""
    monkeypatch.setattr("pymap.imap.client.SLICE_S", 0)
    client = await (await connect(await imap_server())).login(b"INBOX")
    await client.compress()
    await client.idle()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not over:
            asyncio.get_running_loop().call_soon(turn)

    over = False
    turn()
    client.writer.write(b"\0\0\0\xff\xff" * 5000)
    client.send(b"DONE\r\n")
    await client.until(b"idle")
    over = True
    print(f"{turns} turns")
    assert turns > 5000
