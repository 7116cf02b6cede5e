"""Messages in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest
from redis_server import RedisServer

from pymap.backend.api import Digest, digest
from pymap.backend.conformance import new_message
from pymap.backend.redis import RedisBackend
from pymap.backend.redis.messages import CHUNK, pack_digest, read_digest

RANDOM = Random(1)
LARGE = {
    "five megabytes": b"Subject: x\r\n\r\n" + RANDOM.randbytes(5 << 20),
    "a header too long for one piece": b"X: " + b"y" * (CHUNK + 10) + b"\r\n\r\nbody",
    "a header of one piece": b"X: " + b"y" * (CHUNK - 7) + b"\r\n\r\nbody",
    "a body of one piece": b"\r\n" + RANDOM.randbytes(CHUNK),
    "a body of one more": b"\r\n" + RANDOM.randbytes(CHUNK + 1),
    "nothing but a header": b"X: " + b"y" * 3 * CHUNK,
}


@pytest.fixture
async def backend(redis_server: RedisServer) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(redis_server.url)
    await backend.start()
    yield backend
    await backend.stop()


async def test_large_messages_come_back_as_they_were(backend: RedisBackend) -> None:
    async with backend.account("alice") as account:
        inbox = await account.open("INBOX")
        contents = [*LARGE.values(), b"Subject: small\r\n\r\n"]
        uids = list(await inbox.append([new_message(content) for content in contents]))
        assert list(await inbox.contents(uids)) == contents
        assert list(await inbox.contents([*reversed(uids), 99])) == [*reversed(contents), None]
        made = [digest(content) for content in contents]
        assert list(await inbox.digests(uids)) == made
        headers = [c[: m.header_size] for c, m in zip(contents, made, strict=True)]
        assert list(await inbox.headers(uids)) == headers


async def test_no_value_is_much_larger_than_a_piece(backend: RedisBackend) -> None:
    async with backend.account("alice") as account:
        inbox = await account.open("INBOX")
        await inbox.append([new_message(content) for content in LARGE.values()])
    store = backend._running()
    for key in await store.call("KEYS", "*:msg:*"):
        for field in await store.call("HKEYS", key):
            assert await store.call("HSTRLEN", key, field) <= CHUNK, field


async def test_a_digest_of_another_version_is_made_again(backend: RedisBackend) -> None:
    async with backend.account("alice") as account:
        inbox = await account.open("INBOX")
        content = b"Subject: x\r\n\r\nbody"
        (uid,) = await inbox.append([new_message(content)])
        store = backend._running()
        (key,) = await store.call("KEYS", "*:msg:*")
        await store.call("HSET", key, "digest", b"\xff whatever")
        assert list(await inbox.digests([uid])) == [digest(content)]
        assert list(await inbox.headers([uid])) == [b"Subject: x\r\n\r\n"]
        await store.call("HDEL", key, "summary")
        assert list(await inbox.summaries([uid])) == [digest(content).summary]
        assert list(await inbox.digests([uid])) == [digest(content)]


def test_a_digest_survives() -> None:
    made = Digest(b"(e)", b"", b"\0" * 7, 123, b"s", "é".encode())
    assert read_digest(pack_digest(made, 100), b"s") == (made, 100)
