"""Properties in Redis: shared by processes, gone with their mailbox, refused whole when it is full.

Several backends in one process stand for several processes: they share nothing but Redis."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from redis_server import RedisServer

from pymap.backend.api import Properties
from pymap.backend.errors import MailboxGone, OverQuota
from pymap.backend.redis import RedisBackend


async def started(stack: AsyncExitStack, server: RedisServer) -> RedisBackend:
    backend = RedisBackend(server.url)
    await backend.start()
    stack.push_async_callback(backend.stop)
    return backend


async def all_three(stack: AsyncExitStack, backend: RedisBackend) -> list[Properties]:
    account = await stack.enter_async_context(backend.account("alice"))
    mailbox = await account.open("INBOX")
    assert mailbox.properties is not None
    assert account.properties is not None
    return [mailbox.properties, account.properties, backend.properties("server")]


async def test_other_processes_see_and_change_them_at_once(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        here = await all_three(stack, await started(stack, redis_server))
        there = await all_three(stack, await started(stack, redis_server))
        for one, two in zip(here, there, strict=True):
            for n in range(20):
                assert await one.write({"n": b"%d" % n, "m": None})
                assert await two.read() == {"n": b"%d" % n}
                assert not await two.write({"n": b"no"}, {"n": None})
                assert await two.write({"n": None, "m": b"1"}, {"n": b"%d" % n})
                assert await one.read() == {"m": b"1"}


async def test_a_mailbox_that_another_process_deleted_is_gone(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        here, there = await started(stack, redis_server), await started(stack, redis_server)
        account = await stack.enter_async_context(here.account("alice"))
        other = await stack.enter_async_context(there.account("alice"))
        held = (await account.create("Other")).properties
        assert held is not None
        await held.write({"x": b"1"})
        await other.delete("Other")
        with pytest.raises(MailboxGone):
            await held.read()
        with pytest.raises(MailboxGone):
            await held.write({"x": b"2"})


async def test_nothing_is_left_of_them(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        backend = await started(stack, redis_server)
        account = await stack.enter_async_context(backend.account("alice"))
        made = (await account.create("Other")).properties
        assert made is not None
        await made.write({"x": b"1"})
        await account.delete("Other")
        for properties in await all_three(stack, backend):
            await properties.write({"x": b"1"})
            await properties.write({"x": None})
        assert redis_server.must("KEYS", "*properties*") == b"*0\r\n"


async def test_a_full_store_takes_nothing_and_lets_remove(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        backend = await started(stack, redis_server)
        found = await all_three(stack, backend)
        for properties in found:
            await properties.write({"x": b"1", "y": b"2"})
        redis_server.must("CONFIG", "SET", "maxmemory", "1")
        try:
            for properties in found:
                with pytest.raises(OverQuota):
                    await properties.write({"x": None, "z": b"3"})
                assert await properties.read() == {"x": b"1", "y": b"2"}
                assert await properties.write({"x": None})
                assert await properties.read() == {"y": b"2"}
        finally:
            redis_server.must("CONFIG", "SET", "maxmemory", "0")
