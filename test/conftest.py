"""A server for each test, over each store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from pymap.backend.dict import DictBackend
from pymap.imap.server import Server, serve

StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def imap_server() -> AsyncIterator[StartServer]:
    """Start a server with one user, ``demouser`` / ``demopass``; it is stopped after the test.

    `fixture` is ``demo`` (the demo data) or ``empty`` (an INBOX and nothing in it); everything
    else goes to `serve`. Its `addresses[0]` is where it listens.
    """
    async with AsyncExitStack() as stack:

        async def start(fixture: str = "empty", **options: Any) -> Server:
            backend = DictBackend({"demouser": "demopass"})
            if fixture == "demo":
                backend.add_demo("demouser", "demopass")
            return await stack.enter_async_context(serve(backend, **options))

        yield start
