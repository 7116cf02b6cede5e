"""The background task that reclaims messages nobody refers to any more.

Rule 1: each step is one script, all of it or nothing, so a sweep may be killed anywhere, and
        any number of processes may sweep at once.
Rule 2: who has just left something behind sweeps it soon. What a killed process has left is
        found by going through all users now and then, and at the start.
"""

from __future__ import annotations

import asyncio
import logging
import time

from pymap.backend.errors import BackendError, OverQuota
from pymap.backend.redis.store import RedisStore

__all__ = ["sweep", "sweep_all", "sweep_dirty", "sweep_forever"]

log = logging.getLogger("pymap.redis")

PENDING_S = 3600  # an append does not take so long
EVERY_S = 600  # between two looks at all users
SOON_S = 0.2  # so that what happens at once is swept at once
RETRY_S = 5.0


async def sweep(store: RedisStore, base: str, pending_s: int = PENDING_S) -> None:
    """All there is to be swept of one user. Other calls come in between."""
    while await store.run("sweep", base, pending_s):
        pass


async def sweep_all(store: RedisStore, pending_s: int = PENDING_S) -> None:
    """What is to be swept of all users."""
    cursor = b"0"
    while True:
        cursor, found = await store.call("HSCAN", store.prefix + "users", cursor, "COUNT", 100)
        for user_id in found[1::2]:
            await sweep(store, store.base(user_id.decode()), pending_s)
        if cursor == b"0":
            return


async def sweep_dirty(store: RedisStore) -> None:
    """What this process has left behind."""
    while store.dirty:
        base = next(iter(store.dirty))
        await sweep(store, base)
        store.dirty.discard(base)


async def sweep_forever(store: RedisStore) -> None:
    next_all = time.monotonic()
    while True:
        try:
            if time.monotonic() >= next_all:
                if await _my_turn(store):
                    await sweep_all(store)
                next_all = time.monotonic() + EVERY_S
            await sweep_dirty(store)
        except BackendError as error:
            log.warning("sweeping: %s", error)
            await asyncio.sleep(RETRY_S)
            continue
        except Exception:
            log.exception("sweeping failed")
            await asyncio.sleep(RETRY_S)
            continue
        store.soiled.clear()
        try:
            async with asyncio.timeout(max(next_all - time.monotonic(), 0)):
                await store.soiled.wait()
        except TimeoutError:
            continue
        await asyncio.sleep(SOON_S)


async def _my_turn(store: RedisStore) -> bool:
    """Of many processes one looks through all users."""
    try:
        return bool(
            await store.call("SET", store.prefix + "sweeper", "1", "NX", "EX", EVERY_S - 10)
        )
    except OverQuota:
        return True  # it cannot be noted, and now it matters
