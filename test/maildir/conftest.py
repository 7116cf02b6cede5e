"""Places to keep mail in, and clients that are closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from .client import Mail
from .place import USER, Place, Server

NewPlace = Callable[..., Place]
Connect = Callable[..., Awaitable[Mail]]


@pytest.fixture
async def new_place() -> AsyncIterator[NewPlace]:
    async with AsyncExitStack() as stack:

        def new_place(layout: str = "++", users: tuple[str, ...] = (USER,)) -> Place:
            place = Place(layout, users)
            stack.push_async_callback(place.close)
            return place

        yield new_place


@pytest.fixture
async def connect(new_place: NewPlace) -> AsyncIterator[Connect]:
    """Log in to a server. Asks for `new_place`, so that clients end before their servers."""
    opened: list[Mail] = []

    async def connect(server: Server, select: str | None = None, user: str = USER) -> Mail:
        opened.append(client := await Mail.to(server.addresses[0]))
        await client.enter(user)
        if select is not None:
            await client.select(select)
        return client

    yield connect
    for client in opened:
        await client.close()
