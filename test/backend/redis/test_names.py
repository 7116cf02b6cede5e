"""Names that another server on the same Redis changes."""

from __future__ import annotations

import asyncio
import gc

from redis_server import RedisServer

from pymap.backend.redis import RedisBackend


async def test_another_server_wakes(redis_server: RedisServer) -> None:
    ours, theirs = RedisBackend(redis_server.url), RedisBackend(redis_server.url)
    for backend in (ours, theirs):
        await backend.start()
    try:
        async with ours.account("alice") as here, theirs.account("alice") as there:
            known = await here.listing()
            for change in (
                lambda: there.create("A/B"),
                lambda: there.rename("A", "Z"),
                lambda: there.subscribe("Z/B"),
                lambda: there.unsubscribe("Z/B"),
                lambda: there.delete("Z/B"),
            ):
                async with asyncio.timeout(10):
                    waiting = asyncio.create_task(here.wait(known))
                    await asyncio.sleep(0.01)
                    await change()
                    await waiting
                    while (fresh := await here.listing()) == known:
                        await here.wait(known)
                    known = fresh
            del here
        # Nobody wants to know any more: no channel is left.
        gc.collect()
        await asyncio.sleep(0)
        assert not ours._store.listener._channels
    finally:
        for backend in (ours, theirs):
            await backend.stop()
