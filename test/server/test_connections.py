"""Many connections are cheap, too many are refused, and whoever goes leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import socket

import pytest

from pymap.backend.dict import DictBackend
from pymap.imap.server import Server, serve
from pymap.imap.session import Session
from pymap.limits import Limits

from .client import Client, becomes
from .conftest import Connect, Spawn, alone
from .process import Process


def half_open(process: Process, n: int) -> list[socket.socket]:
    return [socket.create_connection(process.addresses[0]) for _ in range(n)]


async def cost_of(process: Process, n: int, said: bytes) -> float:
    """KiB for each of n connections that say that much and then nothing."""
    before = process.memory
    socks = half_open(process, n)
    try:
        for sock in socks:
            assert sock.recv(4096)
            sock.sendall(said)
        # Whoever comes last is served last: then all others have been.
        last = await Client.connect(process.addresses[0])
        await last.ok(b"NOOP")
        await last.close()
        return (process.memory - before) / n / 1024
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize(
    ("said", "kib"),
    [
        (b"", 8),
        (b"a LOG", 8),
        (b"a LOGIN {4000+}\r\n" + b"x" * 3000, 16),
        (b"a LOGIN " + b"x" * 8000, 24),
    ],
    ids=["silent", "half-a-line", "half-a-literal", "long-line"],
)
async def test_2000_half_open_connections(spawn: Spawn, said: bytes, kib: int) -> None:
    process = await spawn()
    cost = await cost_of(process, 2000, said)
    print(f"half-open after {len(said)} octets: {cost:.1f} KiB each")
    assert cost < kib


async def test_half_open_tls_handshakes(spawn: Spawn, tmp_path, certificate) -> None:
    pem = tmp_path / "pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    process = await spawn("--cert", str(pem), "--tls-port", "0")
    before = process.memory
    address = process.addresses[1]
    socks = [socket.create_connection(address) for _ in range(1000)]
    try:
        assert await becomes(lambda: process.descriptors >= 1000, 20)
        cost = (process.memory - before) / 1000 / 1024
        print(f"half-open TLS handshake: {cost:.1f} KiB each")
        assert cost < 64
    finally:
        for sock in socks:
            sock.close()


async def test_they_leave_no_descriptor(spawn: Spawn) -> None:
    process = await spawn()
    await cost_of(process, 10, b"")
    before = process.descriptors
    await cost_of(process, 500, b"a LOGIN {10+}\r\nabc")
    assert await becomes(lambda: process.descriptors <= before)


async def test_limit_of_connections(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(connections=3))
    inside = [await (await connect(server)).login() for _ in range(3)]
    refused = await connect(server)
    assert refused.greeting.startswith(b"* BYE [UNAVAILABLE]")
    refused.send(b"a LOGIN demouser demopass\r\n")
    assert await refused.rest() == []
    for client in inside:
        await client.ok(b"NOOP")
    await inside[0].command(b"LOGOUT")
    await inside[0].close()
    await refused.close()
    assert await becomes(lambda: len(server.clients) <= 2)
    await (await connect(server)).login()


async def test_limit_of_strangers(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(connections_before_login=2))
    for _ in range(5):
        await (await connect(server)).login()  # those who are known do not count
    first = await connect(server)
    await connect(server)
    assert (await connect(server)).greeting.startswith(b"* BYE [UNAVAILABLE]")
    await first.login()
    assert await becomes(lambda: server.strangers <= 1)
    assert (await connect(server)).greeting.startswith(b"* OK")


LARGE = b"Subject: x\r\n\r\n" + b"0123456789abcde\n" * 500_000
LEAVING = {
    "greeted": b"",
    "mid-line": b"a LOGI",
    "mid-literal-before-login": b"a LOGIN {8+}\r\ndemo",
    "waiting-for-literal": b"a LOGIN {8}\r\n",
    "mid-authenticate": b"a AUTHENTICATE PLAIN\r\n",
    "mid-authenticate-login": b"a AUTHENTICATE LOGIN\r\nZGVtb3VzZXI=\r\n",
    "logged-in": b"a LOGIN demouser demopass\r\n",
    "mid-append": b"a LOGIN demouser demopass\r\nb APPEND INBOX {100000+}\r\nabc",
    "mid-refused-append": b"a LOGIN demouser demopass\r\nb APPEND INBOX {99999999+}\r\nabc",
    "selected": b"a LOGIN demouser demopass\r\nb SELECT INBOX\r\n",
    "idle": b"a LOGIN demouser demopass\r\nb IDLE\r\n",
    "idle-selected": b"a LOGIN demouser demopass\r\nb SELECT INBOX\r\nc IDLE\r\n",
    "mid-done": b"a LOGIN demouser demopass\r\nb SELECT INBOX\r\nc IDLE\r\nDON",
    "mid-fetch": b"a LOGIN demouser demopass\r\nb SELECT INBOX\r\n" + b"c FETCH 1 BODY[]\r\n" * 20,
    "mid-search": b"a LOGIN demouser demopass\r\nb SELECT INBOX\r\n"
    + b"c SEARCH TEXT absent\r\n" * 20,
    "mid-large-append": b"a LOGIN demouser demopass\r\nb APPEND INBOX {%d+}\r\n%b\r\n"
    % (len(LARGE), LARGE),
    "logged-out": b"a LOGOUT\r\n",
}


def traces(server: Server, backend: DictBackend) -> dict[str, object]:
    index = backend.account_of("demouser")._mailboxes["INBOX"].index
    return {
        "clients": len(server.clients),
        "tasks": len(server.tasks),
        "strangers": server.strangers,
        "listeners": len(index.listeners),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "open mailboxes": len(server.open_mailboxes._open),
    }


@pytest.mark.parametrize("how", ["reset", "close", "half-close"])
@pytest.mark.parametrize("phase", LEAVING)
async def test_leaving_in_every_phase_leaves_nothing(phase: str, how: str, caplog) -> None:
    backend = DictBackend({"demouser": "demopass"})
    async with serve(backend, limits=Limits(append=32 << 20)) as server:
        if "fetch" in phase or "search" in phase:
            filler = await (await Client.connect(server.addresses[0])).login()
            assert (await filler.append(LARGE)).condition == b"OK"
            await filler.close()
            await alone(server)
        index = backend.account_of("demouser")._mailboxes["INBOX"].index
        before = traces(server, backend)
        client = await Client.connect(server.addresses[0], limit=1024)
        client.send(LEAVING[phase])
        # As far as it is answered, so that the phase is reached.
        if phase.startswith(("idle", "mid-done", "mid-authenticate", "waiting")):
            while not (await client.response()).startswith(b"+"):
                pass
        elif phase == "mid-fetch":
            while not (await client.line()).startswith(b"* 1 FETCH"):
                pass
        elif b"LOGIN demo" in LEAVING[phase]:
            await client.until(b"a")
        if phase in ("idle-selected", "mid-done"):
            assert len(index.listeners) == 1
        match how:
            case "reset":
                client.reset()
            case "half-close":
                client.writer.write_eof()
                while await client._more():
                    pass
            case _:
                client.writer.close()

        def left() -> dict[str, object]:
            # The client's own descriptor is still open.
            return {**traces(server, backend), "descriptors": before["descriptors"]}

        assert await becomes(lambda: left() == before, 8), f"left behind: {left()}"
        await client.close()
        assert await becomes(lambda: traces(server, backend) == before)
        await (again := await Client.connect(server.addresses[0])).login(
            b"INBOX"
        )  # no lock is held
        await again.ok(b"NOOP")
        await again.close()
    assert [r for r in caplog.records if r.levelname in ("ERROR", "WARNING")] == []


async def test_sessions_that_left_are_forgotten() -> None:
    """Nothing refers to them any more, but perhaps they to themselves."""
    async with serve(DictBackend({"demouser": "demopass"})) as server:
        for phase in LEAVING.values():
            client = await Client.connect(server.addresses[0])
            client.send(phase[:3000])
            await asyncio.sleep(0)
            await client.close()
        await alone(server)
        gc.collect()
        assert [found for found in gc.get_objects() if type(found) is Session] == []
