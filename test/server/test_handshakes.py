"""TLS handshakes that never end: whoever is in one is a client like any other, and can be ended."""

from __future__ import annotations

import signal
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from pymap.backend.dict import DictBackend
from pymap.imap.server import serve

from .client import becomes
from .conftest import Spawn, alone
from .process import Process


@pytest.fixture
async def imaps(spawn: Spawn, tmp_path: Path, certificate: trustme.LeafCert) -> Process:
    pem = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    return await spawn("--tls-port", "0", "--cert", str(pem), "--drain", "0.5")


async def test_a_silent_client_of_the_tls_port_does_not_keep_the_server(imaps: Process) -> None:
    """SIGTERM ends the server with exit code 0 in not much more than --drain, whoever is in the
    middle of a handshake, or has not begun one."""
    with socket.create_connection(imaps.addresses[1]):
        imaps.signal(signal.SIGTERM)
        assert await imaps.ended(5) == 0
    assert "Traceback" not in imaps.output


async def test_a_probe_of_the_tls_port_leaves_nothing_behind(imaps: Process) -> None:
    """Whoever connects and goes away without a word, as load balancers do, is no longer counted:
    its session ends in the log, without a traceback, and nothing of it is there at the end."""
    for _ in range(5):
        socket.create_connection(imaps.addresses[1]).close()
    assert await becomes(lambda: imaps.output.count("session ended") == 5, 3), imaps.output
    assert "Traceback" not in imaps.output
    imaps.signal(signal.SIGTERM)
    assert await imaps.ended(5) == 0


async def test_kicking_a_client_in_its_handshake(server_tls: ssl.SSLContext) -> None:
    """It is gone and counts no more, whichever port it came to."""
    async with serve(DictBackend({"alice": "s"}), tls_port=0, ssl_context=server_tls) as server:
        with socket.create_connection(server.addresses[1]):
            assert await becomes(lambda: any(c._handshaking for c in server.clients))
            [client] = server.clients
            assert server.kick(id=client.id) == 1
            try:
                await alone(server)
            finally:
                for left in tuple(server.clients):  # or the server never ends
                    server.leave(left)
