"""Where the server under test comes from.

PYMAP_TEST_ENDPOINT=host:port  a server that runs already (see dovecot.py); each case takes a user
                               name of its own, for a store of its own.
otherwise                      the fixture `imap_server` of test/conftest.py: an async callable that
                               takes "empty" or "demo" and starts a server with that mail, over each
                               store.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable, Callable

import pytest

from pymap.config import ExtensionConfig

from .runner import Endpoint

OTHERS = ("demouser2", "demouser3")

EndpointFactory = Callable[[str, ExtensionConfig], Awaitable[Endpoint]]


@pytest.fixture(params=["dict", "remote", "maildir", "redis"])
def endpoint(request: pytest.FixtureRequest) -> EndpointFactory:
    running = os.environ.get("PYMAP_TEST_ENDPOINT")
    if running:
        host, _, port = running.rpartition(":")

        async def outside(fixture: str, extensions: ExtensionConfig) -> Endpoint:
            return Endpoint(host, int(port), user=f"u{uuid.uuid4().hex[:12]}")

        return outside
    factory = request.getfixturevalue("imap_server")

    async def inside(fixture: str, extensions: ExtensionConfig) -> Endpoint:
        server = await factory(
            fixture, store=request.param, others=OTHERS, extensions=extensions, master="master"
        )
        return Endpoint(*server.addresses[0])

    return inside
