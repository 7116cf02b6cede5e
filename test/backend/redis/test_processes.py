"""Several real servers over one Redis, and clients that change the same mailboxes at once through
all of them: nothing is lost, nothing is there twice, and all see the same.

A failure names its seed: PYMAP_TEST_SEED=n repeats the choices, if not the moment.
PYMAP_TEST_SECONDS says for how long, 4 if it is not set.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from maildir.client import Mail, Refused, flags, quoted
from maildir.dovecot import PASSWORD
from maildir.ledger import BOXES, Ledger, Worker, running, shown
from maildir.place import SEED, USER
from redis_server import RedisServer
from server.process import Process

from pymap.backend.conformance import ALL
from pymap.backend.errors import MailboxNotFound
from pymap.backend.redis import RedisBackend
from pymap.backend.redis.sweep import sweep_all

SECONDS = float(os.environ.get("PYMAP_TEST_SECONDS", "4"))
SERVERS = 3
ROUNDS = int(os.environ.get("PYMAP_TEST_ROUNDS", "5"))


@pytest.fixture
async def servers(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[list[Process]]:
    redis_server.ask("SET", USER, PASSWORD)
    async with AsyncExitStack() as stack:
        started = []
        for n in range(SERVERS):
            process = Process(["redis", redis_server.url], tmp_path / f"pymap{n}.log")
            stack.push_async_callback(process.kill)
            started.append(process)
        await asyncio.gather(*(process.ready() for process in started))
        yield started
    for process in started:
        assert "Traceback" not in process.output, process.output


async def client_of(server: Process, stack: AsyncExitStack) -> Mail:
    client = await Mail.to(server.addresses[0])
    stack.push_async_callback(client.close)
    await client.enter()
    return client


async def view(client: Mail) -> dict[str, tuple[Any, ...]]:
    """All that a client is shown of the mailboxes that all share."""
    found = {}
    for box in BOXES:
        selected = await client.select(box, b"(CONDSTORE)")
        rows = await client.everything(b"MODSEQ")
        found[box] = (
            selected.uid_validity, selected.uid_next, selected.modseq,
            {uid: (flags(items), items[b"MODSEQ"]) for uid, items in rows.items()},
        )  # fmt: skip
    return found


@pytest.mark.timeout(120)
async def test_servers_never_disagree(servers: list[Process], redis_server: RedisServer) -> None:
    print(f"PYMAP_TEST_SEED={SEED}")
    random, ledger = Random(SEED), Ledger()
    async with AsyncExitStack() as stack:
        first = await client_of(servers[0], stack)
        for box in BOXES[1:]:
            await first.run(b"CREATE ", quoted(box))
        workers = []
        for n in range(2 * SERVERS):
            worker = Worker(f"w{n}", ledger, Random(random.random()))
            await worker.enter(await client_of(servers[n % SERVERS], stack), f"server {n}")
            workers.append(worker)
        names = [Namer(await client_of(s, stack), Random(random.random())) for s in servers]
        end = time.monotonic() + SECONDS
        async with running(
            *(one.run(lambda: time.monotonic() < end) for one in (*workers, *names))
        ) as tasks:
            await asyncio.gather(*tasks)
        assert ledger.answered > 50
        for worker in workers:
            assert not ledger.pending
            await worker.find_all()
        clients = [await client_of(server, stack) for server in servers]
        views = [await view(client) for client in clients]
        assert views[0] == views[1] == views[2]
        for client in clients:
            there = await shown(client, ledger)
            ledger.settle(there)
        lists = [await client.names() for client in clients]
        assert lists[0] == lists[1] == lists[2]
        left = sum(name.startswith("n") for name in lists[0])
        assert left == sum(namer.made - namer.gone for namer in names)


class Namer:
    """Makes, renames and deletes mailboxes of a few names, on which all are at once."""

    def __init__(self, client: Mail, random: Random) -> None:
        self.client, self.random = client, random
        self.made = self.gone = 0

    async def run(self, goes_on: Any) -> None:
        while goes_on():
            one, two = (quoted(f"n{self.random.randrange(6)}") for _ in range(2))
            with suppress(Refused):
                match self.random.randrange(3):
                    case 0:
                        await self.client.run(b"CREATE ", one)
                        self.made += 1
                    case 1:
                        await self.client.run(b"DELETE ", one)
                        self.gone += 1
                    case _:
                        await self.client.run(b"RENAME %b " % one, two)


@pytest.mark.timeout(120)
async def test_what_was_acknowledged_survives_killed_servers(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Servers are killed in the midst of commands. Each command is done or not, and what they have
    left half-written is swept."""
    print(f"PYMAP_TEST_SEED={SEED}")
    redis_server.ask("SET", USER, PASSWORD)
    random, ledger = Random(SEED), Ledger()
    workers = [Worker(f"w{n}", ledger, Random(f"{SEED} {n}")) for n in range(4)]
    for turn in range(ROUNDS):
        async with AsyncExitStack() as stack:
            servers = [
                Process(["redis", redis_server.url], tmp_path / f"{turn}.{n}.log") for n in range(2)
            ]
            for server in servers:
                stack.push_async_callback(server.kill)
                await server.ready()
            first = await client_of(servers[0], stack)
            for box in BOXES[1:]:
                await first.command(b"CREATE ", quoted(box))
            ledger.settle(await shown(first, ledger))
            killed = asyncio.Event()

            async def work(worker: Worker, killed: asyncio.Event = killed) -> None:
                with suppress(EOFError, ConnectionError):
                    await worker.run(lambda: not killed.is_set())

            for n, worker in enumerate(workers):
                await worker.enter(await client_of(servers[n % 2], stack))
            async with running(*map(work, workers)) as tasks:
                await asyncio.sleep(random.uniform(0.1, 0.5))  # the moment
                killed.set()
                for server in servers:
                    await server.kill()
                await asyncio.gather(*tasks)
            for server in servers:
                assert "Traceback" not in server.output, server.output
    assert ledger.answered > 10 * ROUNDS
    backend = RedisBackend(redis_server.url)
    await backend.start()
    try:
        store = backend._running()
        async with backend.account(USER) as account:
            for box in BOXES:
                with suppress(MailboxNotFound):
                    await (await account.open(box)).expunge(ALL)
        await sweep_all(store, pending_s=-10)
        assert await store.call("KEYS", "*:msg:*") == []
        for rest in ("counts", "refs", "pending"):
            assert await store.call("KEYS", f"*:{rest}") == []
    finally:
        await backend.stop()


@pytest.mark.timeout(60)
async def test_a_hundred_who_idle_cost_three_connections(
    servers: list[Process], redis_server: RedisServer
) -> None:
    async with AsyncExitStack() as stack:
        for n in range(100):
            client = await client_of(servers[0], stack)
            await client.select("INBOX")
            await client.idle()
            if n == 0:
                before = int(redis_server.must("INFO", "clients").split(b":")[1].split()[0])
        after = int(redis_server.must("INFO", "clients").split(b":")[1].split()[0])
        assert after <= before + 2  # one for large messages, one to listen


@pytest.mark.timeout(60)
async def test_who_idles_at_another_server_hears_at_once(servers: list[Process]) -> None:
    async with AsyncExitStack() as stack:
        idle = await client_of(servers[0], stack)
        other = await client_of(servers[1], stack)
        await idle.select("INBOX")
        await other.append("INBOX", (b"Subject: first\r\n\r\n", b""))
        await idle.idle()
        took = []
        for n in range(10):
            started = time.monotonic()
            await other.append("INBOX", (b"Subject: %d\r\n\r\n" % n, b""))
            while b"EXISTS" not in await idle.line():
                pass
            took.append(time.monotonic() - started)
        print(f"{sorted(took)[5] * 1000:.1f} ms")
        assert sorted(took)[5] < 0.05
