"""A server with its admin service, and a channel to it; both are closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from grpclib.client import Channel
from server.client import Client

from pymap.admin.proto.admin_grpc import MailboxesStub, ServerStub, UsersStub
from pymap.admin.service import AdminService
from pymap.imap.server import Server

STORES = ("dict", "maildir", "redis")


class Admin(NamedTuple):
    imap: Server
    path: Path
    channel: Channel
    server: ServerStub
    users: UsersStub
    mailboxes: MailboxesStub


StartAdmin = Callable[..., Awaitable[Admin]]
Connect = Callable[[Admin], Awaitable[Client]]


@pytest.fixture
async def start_admin(imap_server: Any, tmp_path: Path) -> AsyncIterator[StartAdmin]:
    """Start a server as `imap_server` does, with the admin service beside it."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: Any, **options: Any) -> Admin:
            server = await imap_server(*arguments, **options)
            path = tmp_path / "admin.sock"
            await stack.enter_async_context(AdminService(path).run(server))
            channel = Channel(path=str(path))
            stack.callback(channel.close)
            stubs = (kind(channel) for kind in (ServerStub, UsersStub, MailboxesStub))
            return Admin(server, path, channel, *stubs)

        yield start


@pytest.fixture(params=STORES)
async def admin(request: pytest.FixtureRequest, start_admin: StartAdmin) -> AsyncIterator[Admin]:
    """Over each store, with the demo mail."""
    admin = await start_admin("demo", request.param)
    yield admin
    for name in ("alice", "bob"):  # all tests have one Redis, and users are not below its prefix
        await admin.imap.backend.users.delete(name)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A client of IMAP."""
    async with AsyncExitStack() as stack:

        async def connect(admin: Admin) -> Client:
            client = await Client.connect(admin.imap.addresses[0])
            stack.push_async_callback(client.close)
            return client

        yield connect
