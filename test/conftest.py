"""A server for each test, over each store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from maildir_store import maildir_of
from redis_store import redis_of
from remote_store import RemoteBackend

from pymap.auth.authenticator import Authenticator
from pymap.backend.api import Backend, User
from pymap.backend.dict import DictBackend
from pymap.config import AuthConfig
from pymap.imap.server import Server, serve

StartServer = Callable[..., Awaitable[Server]]

STORES: dict[str, Callable[[DictBackend, Path], Backend]] = {
    "dict": lambda local, directory: local,
    "remote": lambda local, directory: RemoteBackend(local),  # no columns, and every call waits
    "maildir": maildir_of,
    "redis": redis_of,
}


@pytest.fixture
async def imap_server(tmp_path: Path) -> AsyncIterator[StartServer]:
    """Start a server with one user, ``demouser`` / ``demopass``; it is stopped after the test.

    `fixture` is ``demo`` (the demo data) or ``empty`` (an INBOX and nothing in it), `store` one
    of STORES, `others` more users with the same password, `master` one who may also act for the
    first; everything else goes to `serve`. Its `addresses[0]` is where it listens.
    """
    async with AsyncExitStack() as stack:

        async def start(
            fixture: str = "empty",
            store: str = "dict",
            others: Sequence[str] = (),
            master: str = "",
            **options: Any,
        ) -> Server:
            local = DictBackend(dict.fromkeys(("demouser", *others), "demopass"))
            if fixture == "demo":
                local.add_demo("demouser", "demopass")
            if master:
                local.users.add(User(master, "demopass"))
            backend = STORES[store](local, tmp_path)
            if master:
                config = AuthConfig(masters=frozenset({master}))
                options["authenticator"] = Authenticator(backend.users, config)
            server = await stack.enter_async_context(serve(backend, **options))
            if master:  # all tests have one Redis, and users are not below its prefix
                stack.push_async_callback(backend.users.delete, master)
            return server

        yield start
