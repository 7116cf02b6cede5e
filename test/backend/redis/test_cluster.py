"""The redis store over a Redis Cluster of three real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis_server import RedisCluster, RedisServer

from pymap.backend.api import Backend, User
from pymap.backend.conformance import ALL, BackendConformance, new_message
from pymap.backend.errors import CannotDo, Unavailable
from pymap.backend.redis import RedisBackend, UsersAt
from pymap.backend.redis.mailbox import RedisMailbox
from pymap.backend.redis.users import RedisUsers
from pymap.wire.types import SEEN, FlagOp

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(running_cluster: RedisCluster) -> RedisCluster:
    running_cluster.empty()
    return running_cluster


@pytest.fixture
async def backend(cluster: RedisCluster) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(cluster.url)
    await backend.start()
    yield backend
    await backend.stop()


class TestCluster(BackendConformance):
    @pytest.fixture
    async def backend(self, cluster: RedisCluster) -> AsyncIterator[Backend]:
        backend = RedisBackend(cluster.url)
        await backend.start()
        yield backend
        await backend.stop()

    async def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, RedisBackend)
        await backend.stop()
        again = RedisBackend(backend.url)
        await again.start()
        return again


def owner_of(cluster: RedisCluster, mailbox: RedisMailbox) -> tuple[int, RedisServer, RedisServer]:
    """The slot of a mailbox, the node that has it, and another one."""
    key = mailbox.base + "account"
    slot = int(cluster.nodes[0].must("CLUSTER", "KEYSLOT", key)[1:])
    there = [node for node in cluster.nodes if not node.ask("EXISTS", key).startswith(b"-")]
    (owner,) = there
    return slot, owner, next(node for node in cluster.nodes if node is not owner)


def keys_in(node: RedisServer, slot: int) -> list[str]:
    answer = node.must("CLUSTER", "GETKEYSINSLOT", str(slot), "100").split(b"\r\n")
    return [key.decode() for key in answer[2::2]]


async def test_users_of_a_hash_are_listed_and_those_of_keys_cannot_be(
    backend: RedisBackend,
) -> None:
    with pytest.raises(CannotDo):
        await anext(aiter(backend.users.names()))
    hashed = RedisUsers(UsersAt("people"), backend.prefix, backend._running)
    await hashed.put(User("john", "x"))
    assert [name async for name in hashed.names()] == ["john"]


async def test_users_are_spread(backend: RedisBackend, cluster: RedisCluster) -> None:
    for n in range(20):
        async with backend.account(f"user{n}") as account:
            await (await account.open("INBOX")).append([new_message()])
    sizes = [int(node.must("DBSIZE")[1:]) for node in cluster.nodes]
    assert min(sizes) > 8, sizes


async def test_a_slot_that_moves_loses_nothing(
    backend: RedisBackend, cluster: RedisCluster
) -> None:
    """While it moves nothing is done by halves; afterwards everything is where it is now."""
    async with backend.account("alice") as account:
        inbox = await account.open("INBOX")
        assert isinstance(inbox, RedisMailbox)
        await inbox.append([new_message(b"%d" % n) for n in range(3)])
        rows = list(await inbox.metadata(ALL))
        slot, old, new = owner_of(cluster, inbox)
        old_id, new_id = (cluster.ids[cluster.nodes.index(node)] for node in (old, new))
        new.must("CLUSTER", "SETSLOT", str(slot), "IMPORTING", old_id)
        old.must("CLUSTER", "SETSLOT", str(slot), "MIGRATING", new_id)
        for key in keys_in(old, slot):
            for call in (inbox.append([new_message()]), inbox.expunge(ALL), account.open("INBOX")):
                with pytest.raises(Unavailable):
                    await call
            old.must("MIGRATE", "127.0.0.1", str(new.port), key, "0", "5000")
        for node in (new, old, *cluster.nodes):
            node.must("CLUSTER", "SETSLOT", str(slot), "NODE", new_id)
        assert list(await (await account.open("INBOX")).metadata(ALL)) == rows
        assert [await inbox.content(row.uid) for row in rows] == [b"0", b"1", b"2"]
        assert len((await inbox.store(ALL, FlagOp.ADD, frozenset((SEEN,)))).changed) == 3
    async with backend.account("alice") as account:  # another session
        assert await (await account.open("INBOX")).append([new_message()])
