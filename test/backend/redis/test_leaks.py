"""What nobody refers to is reclaimed, whoever was killed when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from secrets import token_bytes

import pytest
from redis_server import RedisServer

from pymap.backend.conformance import ALL, OCTETS, new_message
from pymap.backend.errors import MailboxGone, Unavailable
from pymap.backend.redis import RedisBackend
from pymap.backend.redis.mailbox import RedisMailbox
from pymap.backend.redis.sweep import sweep, sweep_all
from pymap.wire.types import Flag, FlagOp, UidSet


@pytest.fixture
async def backend(redis_server: RedisServer) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(redis_server.url)
    await backend.start()
    yield backend
    await backend.stop()


async def kinds(backend: RedisBackend) -> dict[str, int]:
    """How many keys there are, by their last word that says what they are."""
    found: dict[str, int] = {}
    for key in await backend._running().call("KEYS", backend.prefix + "*"):
        words = key.decode().removeprefix(backend.prefix).split(":")
        word = "msg" if "msg" in words else words[-1]
        found[word] = found.get(word, 0) + 1
    return found


EMPTY = {"layout": 1, "sweeper": 1, "users": 1, "account": 1, "mailboxes": 1, "meta": 1}


async def test_nothing_is_left_of_what_is_expunged_and_deleted(backend: RedisBackend) -> None:
    async with backend.account("alice") as account:
        inbox, other = await account.open("INBOX"), await account.create("other", ("\\Sent",))
        assert isinstance(inbox, RedisMailbox)
        await inbox.append([new_message(octets, email_id="M-given") for octets in OCTETS.values()])
        await inbox.store(ALL, FlagOp.ADD, frozenset((Flag("x"),)))
        await inbox.copy(ALL, other)
        await inbox.copy(ALL, inbox)
        await other.move(UidSet.of(1, 2), inbox)
        await inbox.expunge(ALL)
        base = inbox.base
        await sweep(backend._running(), base)
        assert (await kinds(backend))["msg"] == len(OCTETS) - 2  # what `other` still has
        for uid in range(3, len(OCTETS) + 1):
            assert await other.content(uid) == list(OCTETS.values())[uid - 1]
        await account.delete("other")
        await sweep(backend._running(), base)
        left = await kinds(backend)
        for mailbox in ("flags", "keywords", "log"):  # of INBOX, which remembers
            assert left.pop(mailbox) == 1
        assert left == EMPTY


async def test_copies_and_expunges_in_any_order_keep_what_is_referred_to(
    backend: RedisBackend,
) -> None:
    async with backend.account("alice") as account:
        inbox, other = await account.open("INBOX"), await account.create("other")
        assert isinstance(inbox, RedisMailbox)
        await inbox.append([new_message(b"kept")])
        for _ in range(5):
            await inbox.copy(ALL, other)
            await inbox.expunge(ALL)
            await other.copy(UidSet.of((await other.snapshot()).uids[-1]), inbox)
            await other.expunge(ALL)
            await sweep(backend._running(), inbox.base)
        (row,) = await inbox.metadata(ALL)
        assert await inbox.content(row.uid) == b"kept"
        assert (await kinds(backend))["msg"] == 1
        assert "counts" not in await kinds(backend)


async def test_what_a_killed_client_has_left_is_swept(backend: RedisBackend) -> None:
    store = backend._running()
    async with backend.account("alice") as account:
        inbox = await account.open("INBOX")
        assert isinstance(inbox, RedisMailbox)
        message_id = token_bytes(12)
        await store.call("ZADD", inbox.base + "pending", 1_000_000, message_id)
        await store.call("HSET", f"{inbox.base}msg:{message_id.hex()}", "body", b"half of it")
        await sweep_all(store)
        assert await kinds(backend) == EMPTY


async def test_a_refused_append_leaves_nothing_for_long(backend: RedisBackend) -> None:
    store = backend._running()
    async with backend.account("alice") as account:
        other = await account.create("other")
        assert isinstance(other, RedisMailbox)
        await account.delete("other")
        with pytest.raises(MailboxGone):
            await other.append([new_message(b"x" * 200_000), new_message()])
        await sweep(store, other.base, pending_s=-10)
        assert await kinds(backend) == EMPTY


async def test_an_append_that_was_swept_meanwhile_is_refused(backend: RedisBackend) -> None:
    store = backend._running()
    async with backend.account("alice") as account:
        inbox = await account.open("INBOX")
        assert isinstance(inbox, RedisMailbox)

        async def swept(lane: object, writes: object) -> None:
            await written(lane, writes)  # type: ignore[arg-type]
            await sweep(store, inbox.base, pending_s=-10)

        written, inbox._write_ahead = inbox._write_ahead, swept  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await inbox.append([new_message(b"x" * 200_000)])
        assert await kinds(backend) == EMPTY


async def test_the_log_is_bounded(backend: RedisBackend) -> None:
    store = backend._running()
    async with backend.account("alice") as account:
        inbox = await account.open("INBOX")
        assert isinstance(inbox, RedisMailbox)
        await inbox.append([new_message()] * 1000)
        await inbox.append([new_message()] * 1000)
        start = (await inbox.snapshot()).modseq
        odd = UidSet.from_sorted(range(1, 2001, 2))
        for n in range(130):  # a thousand ranges each
            await inbox.store(odd, list(FlagOp)[1 + n % 2], frozenset((Flag("x"),)))
        length = await store.call("XLEN", f"{inbox.base}box:{inbox.id}:log")
        assert 90 <= length <= 100
        # Who has not heard of it for so long finds out by comparing.
        other = RedisBackend(backend.url)
        await other.start()
        async with other.account("alice") as again:
            mailbox = await again.open("INBOX")
            assert isinstance(mailbox, RedisMailbox)
            await mailbox.refresh()
            await inbox.expunge(UidSet.of(5))
            for n in range(130):
                await inbox.store(odd, list(FlagOp)[1 + n % 2], frozenset((Flag("x"),)))
            await inbox.append([new_message()])
            await mailbox.refresh()
            assert await mailbox.metadata(ALL) == await inbox.metadata(ALL)
            changes = await mailbox.changes(start)
            assert not changes.complete or 5 in changes.vanished
        await other.stop()


async def test_flag_sets_are_forgotten(backend: RedisBackend) -> None:
    store = backend._running()
    async with backend.account("alice") as account:
        inbox = await account.open("INBOX")
        assert isinstance(inbox, RedisMailbox)
        await inbox.append([new_message()])
        for n in range(1500):
            flags = frozenset(Flag(f"k{bit}") for bit in range(11) if n >> bit & 1)
            await inbox.store(ALL, FlagOp.SET, flags)
        assert await store.call("HLEN", f"{inbox.base}box:{inbox.id}:flags") < 2 * 1010
        (row,) = await inbox.metadata(ALL)
        assert row.flags == flags
