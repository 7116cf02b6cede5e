"""The beginning and the end of the real process, and of `serve` inside a program."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time

import pytest

from pymap.backend.dict import DictBackend
from pymap.imap.server import serve

from .client import Client, becomes
from .conftest import Connect, Spawn

DEMO = ("dict", "--demo-data")


async def test_leaving_serve_says_bye_to_everyone() -> None:
    async with serve(DictBackend({"demouser": "demopass"})) as server:
        address = server.addresses[0]
        clients = [await Client.connect(address) for _ in range(6)]
        await clients[1].login()
        await clients[2].login(b"INBOX")
        await (await clients[3].login(b"INBOX")).idle()
        await (await clients[4].login()).idle()
        clients[5].send(b"a AUTHENTICATE PLAIN\r\n")
        assert (await clients[5].response()).startswith(b"+")
        started = time.perf_counter()
    assert time.perf_counter() - started < 2
    assert not server.clients
    assert not server.tasks
    for client in clients:
        rest = await client.rest()
        assert len(rest) == 1
        assert rest[0].startswith(b"* BYE")
        await client.close()
    with pytest.raises(OSError):
        await Client.connect(address)


async def test_leaving_serve_with_a_client_that_does_not_read() -> None:
    async with serve(DictBackend({"demouser": "demopass"})) as server:
        client = await (await Client.connect(server.addresses[0], limit=1024)).login()
        await client.append(b"x: y\r\n\r\n" + b"0123456789abcde\n" * 1_000_000)
        await client.ok(b"SELECT INBOX")
        client.send(b"a FETCH 1 BODY[]\r\n")
        assert (await client.line()).startswith(b"* 1 FETCH")
        await server.close(drain_s=0.3)
        assert not server.clients
        assert not server.tasks
    await client.close()


async def test_a_running_fetch_is_finished_first(connect: Connect) -> None:
    """Also by a client that has been in IDLE before."""
    message = b"x: y\r\n\r\n" + b"0123456789abcde\n" * 1_000_000
    async with serve(DictBackend({"demouser": "demopass"})) as server:
        client = await (await connect(server, limit=4096)).login()
        await client.append(message)
        await client.ok(b"SELECT INBOX")
        await client.idle()
        client.send(b"DONE\r\n")
        await client.until(b"idle")
        client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
        assert (await client.line()).startswith(b"* 1 FETCH")
        closing = asyncio.ensure_future(server.close())
        await asyncio.sleep(0)  # it has begun
        try:
            got = await client.read(len(message))
            rest = await client.rest()
        finally:
            await closing
    assert got == message
    assert rest[0] == b")\r\n"
    assert rest[1].startswith(b"a OK")
    assert rest[2].startswith(b"* BYE")


async def test_a_client_that_has_been_told_bye_does_not_delay_the_end() -> None:
    async with serve(DictBackend({"demouser": "demopass"})) as server:
        client = await Client.connect(server.addresses[0])
        client.send(b"a LOGOUT\r\n")
        await client.until(b"a")  # and it does not close its side
        started = time.perf_counter()
    assert time.perf_counter() - started < 1
    await client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals(spawn: Spawn, connect: Connect, number: signal.Signals) -> None:
    process = await spawn()
    silent = await connect(process)
    selected = await (await connect(process)).login(b"INBOX")
    idle = await (await connect(process)).login(b"INBOX")
    await idle.idle()
    process.signal(number)
    for client in (silent, selected, idle):
        assert [r[:5] for r in await client.rest()] == [b"* BYE"]
    assert await process.ended() == 0
    assert "Traceback" not in process.output


async def test_a_second_signal_does_no_harm(spawn: Spawn, connect: Connect) -> None:
    process = await spawn()
    client = await connect(process)
    for _ in range(3):
        process.signal(signal.SIGTERM)
    assert (await client.rest())[-1].startswith(b"* BYE")
    assert await process.ended() == 0
    assert "Traceback" not in process.output


async def refused(spawn: Spawn, *options: str, backend: tuple[str, ...] | None = None) -> str:
    """Start what must not start; its one line."""
    process = await spawn(*options, ready=False, backend=backend)
    assert await process.ended() != 0
    output = process.output
    assert "Traceback" not in output
    lines = [line for line in output.splitlines() if not line.startswith(("usage:", "      "))]
    assert len(lines) == 1, output
    return lines[0]


async def test_a_taken_port(spawn: Spawn) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = await refused(spawn, "--port", port)
    assert port in line
    assert "in use" in line.lower()


async def test_an_unknown_host(spawn: Spawn) -> None:
    line = await refused(spawn, "--host", "does-not-exist.invalid")
    assert "does-not-exist.invalid" in line
    assert "Unknown error" not in line


async def test_an_address_of_another_machine(spawn: Spawn) -> None:
    line = await refused(spawn, "--host", "198.51.100.7")
    assert "198.51.100.7" in line


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n"])
async def test_an_unusable_certificate(spawn: Spawn, tmp_path, content: bytes | None) -> None:
    path = tmp_path / "cert.pem"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in await refused(spawn, "--cert", str(path))


async def test_a_certificate_without_its_key(spawn: Spawn, tmp_path, certificate) -> None:
    path = tmp_path / "cert.pem"
    certificate.cert_chain_pems[0].write_to_path(path)
    assert str(path) in await refused(spawn, "--cert", str(path))
    assert str(tmp_path) in await refused(spawn, "--cert", str(tmp_path))


@pytest.mark.parametrize(
    ("options", "backend"),
    [
        (("--nonsense",), DEMO),
        (("--port", "70000"), DEMO),
        (("--port", "-1"), DEMO),
        (("--port", "imap"), DEMO),
        (("--tls-port", "0"), DEMO),
        (("--key", "/dev/null"), DEMO),
        (("--no-service", "nonsense"), DEMO),
        (("--set-uid", "no-such-user-here"), DEMO),
        (("--set-gid", "no-such-group-here"), DEMO),
        (("--logging-cfg", "/nonexistent/logging.json"), DEMO),
        ((), ("nonsense",)),
        ((), ("dict", "--nonsense")),
        ((), ("dict",)),
        ((), ()),
        ((), ("dict", "--users", "/nonexistent")),
        ((), ("dict", "--users", "/")),
    ],
)
async def test_bad_options(
    spawn: Spawn, options: tuple[str, ...], backend: tuple[str, ...]
) -> None:
    line = await refused(spawn, *options, backend=backend)
    assert line.startswith("pymap")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"alice\n", "line 1"),
        (b"a:b\n:c\n", "line 2"),
        (b"a:b\na:c\n", "line 2"),
        (b"a:\xff\xfe\n", "users"),
    ],
)
async def test_a_bad_users_file(spawn: Spawn, tmp_path, content: bytes, problem: str) -> None:
    path = tmp_path / "bad-users"
    path.write_bytes(content)
    line = await refused(spawn, backend=("dict", "--users", str(path)))
    assert problem in line
    assert ":c" not in line  # no password


async def test_users_file(spawn: Spawn, connect: Connect, tmp_path) -> None:
    path = tmp_path / "users"
    path.write_bytes("# comment\n\nalice:s e:cret\nbob:pässword\n".encode())
    process = await spawn(backend=("dict", "--users", str(path)))
    client = await connect(process)
    assert (await client.command(b"LOGIN alice wrong")).condition == b"NO"
    await client.ok(b'LOGIN alice "s e:cret"')
    other = await connect(process)
    await other.ok(b"LOGIN bob {9+}\r\n" + "pässword".encode())
    assert "cret" not in process.output


async def test_demo_data_listens_on_loopback_only(spawn: Spawn, connect: Connect) -> None:
    """Its password is known. --host can say otherwise."""
    process = await spawn(backend=DEMO, host=None)
    hosts = {host for host, _ in process.addresses}
    assert hosts <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in hosts
    assert re.search("demouser.*demopass", process.output)
    for address in process.addresses:
        await (await connect(address)).ok(b"LOGIN demouser demopass")


async def test_host_repeated(spawn: Spawn, connect: Connect) -> None:
    process = await spawn("--host", "127.0.0.1", "--host", "127.0.0.2")
    assert [host for host, _ in process.addresses] == ["127.0.0.1", "127.0.0.2"]
    for address in process.addresses:
        await (await connect(address)).login()


async def test_debug_shows_the_protocol_and_no_secret(spawn: Spawn, connect: Connect) -> None:
    process = await spawn("--debug")
    secret = b"AGRlbW91c2VyAGRlbW9wYXNz"
    body = b"Subject: open\r\n\r\nThe hidden body\r\n" * 3
    for login in (
        b"LOGIN demouser demopass",
        b'LOGIN "demouser" "demopass"',
        b"LOGIN {8+}\r\ndemouser {8+}\r\ndemopass",
        b"LOGIN demouser {8}\r\ndemopass",
        b"login demouser demopass extra",
        b"LOGIN  demouser demopass",
        b"LOGIN demouser demopass\\",
        b"AUTHENTICATE PLAIN " + secret,
        b"authenticate plain " + secret + b"!",
        b"AUTHENTICATE PLAIN\r\n" + secret,
        b"AUTHENTICATE LOGIN\r\nZGVtb3VzZXI=\r\nZGVtb3Bhc3M=",
        b"AUTHENTICATE LOGIN ZGVtb3VzZXI=\r\nZGVtb3Bhc3M=",
        b"AUTHENTICATE X-UNKNOWN " + secret,
        b"AUTHENTICATE X-UNKNOWN\r\n" + secret,  # sent without waiting: it is no command then
        b"AUTHENTICATE\r\n" + secret,
    ):
        client = await connect(process)
        client.send(b"a " + login + b"\r\n")
        await client.until(b"a")
        await client.command(b"NOOP")
        await client.close()
    client = await connect(process)
    client.send(b"LOGIN demouser demopass\r\n")  # the tag forgotten
    client.send(b"a  LOGIN demouser demopass\r\n")
    client.send(b"b LOGIN demouser demopass\nc NOOP\r\n")
    await client.until(b"c")
    await client.append(body)
    await client.append(b"The hidden body" * 100_000)
    await client.command(
        b"APPEND INBOX {99999999+}\r\n" + b"The hidden body"[:0] + b"x" * 99_999_999
    )
    await client.ok(b"SELECT INBOX")
    await client.ok(b"FETCH 1:* (FLAGS BODY.PEEK[] BODY.PEEK[TEXT] BODY[1] BINARY[1] RFC822)")
    await client.ok(b"FETCH 1:* (BODY.PEEK[]<3.40> BODYSTRUCTURE BODY.PEEK[HEADER])")
    await client.ok(b"SEARCH TEXT {15+}\r\nThe hidden body")
    output = process.output
    assert "SELECT INBOX" in output  # it does show the protocol
    assert "FLAGS" in output
    assert "The hidden" not in output
    assert "hidden body" not in output
    assert "demopass" not in output
    leaked = [
        line for line in output.splitlines() if "ZGVtb3Bhc3M" in line or secret.decode() in line
    ]
    assert leaked == []


async def test_without_debug_the_log_is_short(spawn: Spawn, connect: Connect) -> None:
    process = await spawn("--no-service", "admin")
    client = await (await connect(process)).login(b"INBOX")
    await client.command(b"XYZZY")
    await client.append(b"x")
    client.send(b"\xff\0garbage\r\n")
    await client.line()
    assert await becomes(lambda: "login:" in process.output)
    start, login = process.output.splitlines()
    assert "IMAP on" in start
    assert "login: address=127.0.0.1" in login


async def test_the_start_has_one_line(spawn: Spawn) -> None:
    process = await spawn("--no-service", "admin", backend=DEMO)
    assert len(process.output.splitlines()) == 1
    assert f"127.0.0.1:{process.addresses[0][1]}" in process.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
async def test_set_uid(spawn: Spawn, connect: Connect) -> None:
    process = await spawn("--set-uid", "nobody", backend=DEMO)
    client = await connect(process)
    await client.ok(b"LOGIN demouser demopass")
    assert set(process.status("Uid").split()).isdisjoint({"0"})
    # Encodings that nobody has needed before are there, though Python's files may not be his to read.
    await client.ok(b"SELECT INBOX")
    for charset in (b"utf-16-be", b"koi8-r", b"big5", b"iso-2022-jp"):
        message = b"Subject: =?%b?Q?=41=42?=\r\n\r\nx" % charset
        await client.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(message), message))
    await client.ok(b"SEARCH SUBJECT nothing")


async def test_nothing_to_listen_on(spawn: Spawn) -> None:
    process = await spawn("--port", "none", ready=False)
    assert await process.ended() == 1
    assert "there is nothing to listen on" in process.output
