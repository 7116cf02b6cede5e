"""Clients that are closed after the test, and servers in processes of their own."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from pymap.imap.server import Server

from .client import Client, becomes
from .process import Process

Connect = Callable[..., Awaitable[Client]]
Spawn = Callable[..., Awaitable[Process]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect to a server, a process or an address."""
    opened: list[Client] = []

    async def connect(to: Server | Process | tuple[str, int], **how: Any) -> Client:
        address = to if isinstance(to, tuple) else to.addresses[0]
        opened.append(client := await Client.connect(address, **how))
        return client

    yield connect
    for client in opened:
        await client.close()


@pytest.fixture
async def spawn(tmp_path: Path) -> AsyncIterator[Spawn]:
    """Start `python -m pymap` with one user, on a free port of 127.0.0.1 unless told otherwise."""
    started: list[Process] = []

    async def spawn(
        *options: str,
        backend: tuple[str, ...] | None = None,
        ready: bool = True,
        host: str | None = "127.0.0.1",
    ) -> Process:
        if backend is None:
            users = tmp_path / "users"
            users.write_text("demouser:demopass\n")
            backend = ("dict", "--users", str(users))
        log = tmp_path / f"log{len(started)}"
        started.append(process := Process([*options, *backend], log, host))
        if ready:
            await process.ready()
        return process

    yield spawn
    for process in started:
        await process.kill()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture
def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def alone(server: Server) -> None:
    """Wait until no client and no task is left."""
    gone = await becomes(lambda: not server.clients and not server.tasks)
    assert gone, f"left behind: {len(server.clients)} clients, {server.tasks}"
    assert server.strangers == 0
