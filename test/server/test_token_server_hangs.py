"""The end of a server that waits for somebody else."""

from __future__ import annotations

import base64
import signal
import socket

from .client import becomes
from .conftest import Connect, Spawn


async def test_a_token_server_that_hangs_does_not_keep_this_one(
    connect: Connect, spawn: Spawn
) -> None:
    """SIGTERM ends it in not much more than --drain, however many questions about tokens have no
    answer yet; anybody can make it ask some."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        process = await spawn("--oauth-introspection", url, "--drain", "0.5")
        clients = [await connect(process) for _ in range(8)]
        for n, client in enumerate(clients):
            said = base64.b64encode(b"user=alice\1auth=Bearer token%d\1\1" % n)
            client.send(b"a AUTHENTICATE XOAUTH2 ", said, b"\r\n")
        silent.settimeout(5)
        asked, _ = silent.accept()
        with asked:
            process.signal(signal.SIGTERM)
            assert await becomes(lambda: process.popen.poll() is not None, 5), "still there"
            assert process.popen.returncode == 0
