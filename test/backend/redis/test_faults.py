"""Redis restarts, is slow, is full, forgets: what the store says of it, and that it comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis_server import RedisServer

from pymap.backend.api import Account
from pymap.backend.conformance import ALL, new_message
from pymap.backend.errors import BackendError, MailboxGone, OverQuota, Unavailable
from pymap.backend.opened import OpenMailbox
from pymap.backend.redis import RedisBackend
from pymap.wire.types import DELETED, SEEN, FlagOp, UidSet

TIMEOUT_S = 1.0
PATIENCE_S = 10.0


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server of the test's own, with a file that outlives it."""
    server = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.close()


@pytest.fixture
async def backend(own: RedisServer) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(own.url, timeout_s=TIMEOUT_S)
    await backend.start()
    yield backend
    await backend.stop()


@pytest.fixture
async def account(backend: RedisBackend) -> AsyncIterator[Account]:
    async with backend.account("alice") as account:
        yield account


async def test_a_server_that_is_away_is_unavailable_and_comes_back(
    own: RedisServer, backend: RedisBackend, account: Account
) -> None:
    inbox = await account.open("INBOX")
    uids = await inbox.append([new_message(), new_message()])
    modseq = (await inbox.snapshot()).modseq
    own.kill()
    for call in (inbox.refresh, inbox.snapshot, account.mailboxes, backend.ping):
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Unavailable):
                await call()
    with pytest.raises(Unavailable):
        await inbox.append([new_message()])
    own.start()
    await backend.ping()
    assert (await inbox.snapshot()).modseq == modseq
    assert (await inbox.store(uids, FlagOp.ADD, frozenset((SEEN,)))).changed == uids
    assert [row.uid for row in await inbox.metadata(ALL)] == list(uids)


async def test_what_was_acknowledged_survives_a_killed_server(
    own: RedisServer, account: Account
) -> None:
    """With `appendfsync always`. What was not acknowledged is there as a whole or not at all."""
    inbox, other = await account.open("INBOX"), await account.create("other")
    kept: dict[int, bytes] = {}

    async def work(name: str) -> None:
        for n in range(1000):
            pair = [b"%b %d %d" % (name.encode(), n, half) for half in range(2)]
            uids = await inbox.append([new_message(content) for content in pair])
            kept.update(zip(uids, pair, strict=True))
            if n % 3 == 0:
                await inbox.move(UidSet.of(uids.lowest), other)
                del kept[uids.lowest]

    for turn in range(5):
        working = [asyncio.create_task(work(f"{turn}.{n}")) for n in range(6)]
        await asyncio.sleep(0.2)  # the moment
        own.kill()
        ends = await asyncio.gather(*working, return_exceptions=True)
        assert all(isinstance(end, Unavailable) for end in ends)
        own.start()
        rows = set((await inbox.snapshot()).uids)
        moved = {await other.content(uid) for uid in (await other.snapshot()).uids}
        for uid, content in tuple(kept.items()):
            if uid in rows:
                assert await inbox.content(uid) == content
            else:  # a move whose answer was lost
                assert content in moved, uid
                del kept[uid]
        contents = [await inbox.content(uid) for uid in rows]
        everything = [*contents, *moved]
        assert len(everything) == len(set(everything))
        halves = [content.rpartition(b" ")[0] for content in everything]
        assert all(halves.count(half) == 2 for half in set(halves))


async def test_who_idles_hears_of_news_after_a_restart(own: RedisServer, account: Account) -> None:
    opened, heard = OpenMailbox(await account.open("INBOX")), asyncio.Event()
    await opened.sync()
    opened.listen(heard.set)
    own.kill()
    own.start()
    async with asyncio.timeout(PATIENCE_S):
        while True:  # what uses a connection of before may still fail
            try:
                await opened.mailbox.append([new_message()])
                break
            except Unavailable:
                continue
        other = RedisBackend(own.url)
        await other.start()
        async with other.account("alice") as again:
            heard.clear()
            await (await again.open("INBOX")).append([new_message()])
            await heard.wait()
        await other.stop()
        while len(opened.index.uids) < 2:
            heard.clear()
            await heard.wait()
    opened.unlisten(heard.set)


async def test_a_slow_server_is_given_up(own: RedisServer, account: Account) -> None:
    inbox = await account.open("INBOX")
    await inbox.append([new_message()])
    sleeping = asyncio.create_task(asyncio.to_thread(own.ask, "DEBUG", "SLEEP", "3"))
    await asyncio.sleep(0.2)  # until it is asleep
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await inbox.refresh()
    assert time.monotonic() - started < TIMEOUT_S + 1
    await sleeping
    await inbox.refresh()


async def test_a_full_server_is_over_quota_and_lets_delete(
    own: RedisServer, account: Account
) -> None:
    inbox, other = await account.open("INBOX"), await account.create("other")
    uids = await inbox.append([new_message(b"Subject: x\r\n\r\n" + b"x" * 100_000)] * 3)
    own.ask("CONFIG", "SET", "maxmemory", "1mb")
    before = await inbox.snapshot()
    for call in (
        inbox.append([new_message()]),
        inbox.append([new_message(b"x" * 2_000_000)]),
        inbox.copy(uids, other),
        account.create("more"),
        account.subscribe("more"),
    ):
        with pytest.raises(OverQuota):
            await call
    assert await inbox.snapshot() == before
    assert await inbox.store(uids, FlagOp.ADD, frozenset((DELETED,)))
    assert (await inbox.move(UidSet.of(uids.lowest), other)).target
    assert len(await inbox.expunge(ALL, DELETED)) == 2
    await account.delete("other")
    own.ask("CONFIG", "SET", "maxmemory", "0")
    await inbox.append([new_message()])


async def test_a_replica_is_unavailable(own: RedisServer, account: Account) -> None:
    inbox = await account.open("INBOX")
    own.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(Unavailable):
        await inbox.append([new_message()])
    own.ask("REPLICAOF", "NO", "ONE")
    assert await inbox.append([new_message()])


async def test_forgotten_scripts_are_sent_again(own: RedisServer, account: Account) -> None:
    inbox = await account.open("INBOX")
    await inbox.append([new_message()])
    own.ask("SCRIPT", "FLUSH")
    assert await inbox.append([new_message(), new_message(b"x" * 100_000)])
    own.ask("SCRIPT", "FLUSH")
    assert len(await inbox.expunge(ALL)) == 3


async def test_killed_connections_are_opened_again(own: RedisServer, account: Account) -> None:
    inbox = await account.open("INBOX")
    sent = 0
    for _ in range(20):
        own.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        own.ask("CLIENT", "KILL", "TYPE", "pubsub")
        try:
            sent += len(await inbox.append([new_message()]))
        except Unavailable:
            continue
    again = await inbox.append([new_message()])
    assert sent + 1 <= again.highest <= 21
    assert [row.uid for row in await inbox.metadata(ALL)] == list(range(1, again.highest + 1))


@pytest.mark.parametrize("anew", [False, True])
async def test_a_server_that_has_forgotten_gives_a_new_uid_validity(
    own: RedisServer, account: Account, anew: bool
) -> None:
    """What clients saw of a change that a crash has undone must not pass for something else."""
    inbox = await account.open("INBOX")
    await inbox.append([new_message(b"one")])
    parts = own.ask("HGETALL", _key(own, "meta")).split(b"\r\n")
    meta = [part.decode() for part in parts[2::2]]
    await inbox.append([new_message(b"two")])
    await inbox.refresh()
    # As after a crash: the second message never happened, and another takes its place.
    own.ask("HSET", _key(own, "meta"), *meta)
    own.ask("XDEL", _key(own, "log"), "3-0")
    if anew:
        own.ask("HSET", _key(own, "meta"), "modseq", "3", "stamp", "1", "uid_next", "3")
    with pytest.raises(MailboxGone):
        await inbox.refresh()
    again = await account.open("INBOX")
    assert again is not inbox
    assert again.uid_validity > inbox.uid_validity


def _key(own: RedisServer, name: str) -> str:
    keys = own.ask("KEYS", f"pymap:*:{name}").split(b"\r\n")
    return next(key.decode() for key in keys if key.endswith(b":" + name.encode()))


async def test_a_wrong_layout_is_refused(own: RedisServer) -> None:
    own.ask("HSET", "new:layout", "version", "99")
    backend = RedisBackend(own.url, prefix="new:")
    with pytest.raises(ValueError, match="layout 99"):
        await backend.start()


async def test_an_unreachable_server_is_told_at_the_start(own: RedisServer) -> None:
    own.kill()
    backend = RedisBackend(own.url)
    with pytest.raises(BackendError):
        await backend.start()


# -- what a review has found --


async def test_an_email_id_that_was_given_is_the_same_in_all_processes(
    own: RedisServer, backend: RedisBackend, account: Account
) -> None:
    other = RedisBackend(own.url, timeout_s=TIMEOUT_S)
    await other.start()
    async with other.account("alice") as elsewhere:
        here, there = await account.open("INBOX"), await elsewhere.open("INBOX")
        await there.refresh()
        await here.append([new_message(email_id="Egiven")])
        for inbox in (here, there):
            await inbox.refresh()
            assert [row.email_id for row in await inbox.metadata(ALL)] == ["Egiven"]
    await other.stop()


async def test_a_full_store_can_be_selected_and_served(
    own: RedisServer, backend: RedisBackend, account: Account
) -> None:
    inbox = await account.open("INBOX")
    uids = await inbox.append([new_message()])
    own.ask("CONFIG", "SET", "maxmemory", "1")
    assert await inbox.claim_recent() == uids
    other = RedisBackend(own.url, timeout_s=TIMEOUT_S)
    await other.start()
    await other.stop()
    own.ask("CONFIG", "SET", "maxmemory", "0")


async def test_too_few_replicas_are_unavailable_and_sweeping_goes_on(
    own: RedisServer, backend: RedisBackend, account: Account
) -> None:
    inbox = await account.open("INBOX")
    uids = await inbox.append([new_message()])
    own.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(Unavailable):
        await inbox.store(uids, FlagOp.ADD, frozenset((SEEN,)))
    with pytest.raises(Unavailable):
        await account.create("more")
    assert backend._sweeping is not None
    assert not backend._sweeping.done()
    own.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    assert (await inbox.store(uids, FlagOp.ADD, frozenset((SEEN,)))).changed == uids


async def test_an_account_that_redis_has_forgotten_takes_nothing(
    own: RedisServer, account: Account
) -> None:
    """What it took would be seen by nobody: the user gets another id at the next login."""
    own.ask("FLUSHALL")
    with pytest.raises(MailboxGone):
        await account.create("keep")
    with pytest.raises(MailboxGone):
        await account.subscribe("keep")
