"""A server for each test, over each store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from remote_store import RemoteBackend

from pymap.backend.api import Backend
from pymap.backend.dict import DictBackend
from pymap.imap.server import Server, serve

StartServer = Callable[..., Awaitable[Server]]

STORES: dict[str, Callable[[DictBackend], Backend]] = {
    "dict": lambda local: local,
    "remote": RemoteBackend,  # no columns of its own, and every call waits
}


@pytest.fixture
async def imap_server() -> AsyncIterator[StartServer]:
    """Start a server with one user, ``demouser`` / ``demopass``; it is stopped after the test.

    `fixture` is ``demo`` (the demo data) or ``empty`` (an INBOX and nothing in it), `store` one
    of STORES; everything else goes to `serve`. Its `addresses[0]` is where it listens.
    """
    async with AsyncExitStack() as stack:

        async def start(fixture: str = "empty", store: str = "dict", **options: Any) -> Server:
            local = DictBackend({"demouser": "demopass"})
            if fixture == "demo":
                local.add_demo("demouser", "demopass")
            backend = STORES[store](local)
            return await stack.enter_async_context(serve(backend, **options))

        yield start
