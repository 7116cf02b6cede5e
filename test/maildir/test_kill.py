"""The server is killed at random moments under load, and all that it promised is there.

A failure names its seed: PYMAP_TEST_SEED=n repeats the choices, if not the moment. PYMAP_TEST_ROUNDS
says how often to kill, 25 if it is not set.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from random import Random

import pytest
from server.client import becomes
from server.process import Process

from .client import Mail, by_uid, flags, numbers, quoted
from .conftest import Connect, NewPlace
from .deliver import crlf, mail
from .ledger import BOXES, Agent, Ledger, Worker, reflect, running, shown
from .place import SEED, Place, stop

ROUNDS = int(os.environ.get("PYMAP_TEST_ROUNDS", "25"))
OPENS_WITHIN_S = 5.0


async def _boxes(client: Mail) -> None:
    for box in BOXES[1:]:
        await client.run(b"CREATE ", quoted(box))


async def _recovered(server: Process, connect: Connect, ledger: Ledger) -> None:
    """All is there, at once; and clients that keep copies are told what they missed."""
    started = time.monotonic()
    client = await connect(server)
    await client.ok(b"ENABLE QRESYNC")
    for box in BOXES:
        await client.select(box)
    took = time.monotonic() - started
    assert took < OPENS_WITHIN_S, f"opening took {took:.1f} s after a kill"
    ledger.settle(await shown(client, ledger))
    for box, mirror in ledger.mirrors.items():
        least = ledger.modseq[box]
        since = b"(QRESYNC (%d %d))" % (mirror.uid_validity, mirror.modseq)
        selected = await client.select(box, since)
        assert selected.modseq >= least, f"{box}: HIGHESTMODSEQ {selected.modseq}, was {least}"
        for response in selected.untagged:
            if response.startswith(b"* VANISHED (EARLIER) "):
                for uid in numbers(response.split()[3]):
                    mirror.flags.pop(uid, None)
        for uid, items in by_uid(selected.untagged).items():
            mirror.flags[uid] = flags(items)
        now = {uid: flags(items) for uid, items in (await client.everything()).items()}
        assert mirror.flags == now, f"{box}: who resynchronises from {mirror.modseq} is misled"
    await client.close()


async def _worked(job: Worker | Agent, goes_on: asyncio.Event) -> None:
    try:
        await job.run(lambda: not goes_on.is_set())
    except (EOFError, ConnectionError):
        assert goes_on.is_set(), "the server closed the connection"


async def _reflecting(client: Mail, ledger: Ledger, random: Random, ended: asyncio.Event) -> None:
    try:
        await client.ok(b"ENABLE QRESYNC")
        await client.select("INBOX")
        while not ended.is_set():
            await reflect(client, ledger, random.choice(BOXES))
    except (EOFError, ConnectionError):
        assert ended.is_set(), "the server closed the connection"


@pytest.mark.timeout(300)
async def test_what_was_acknowledged_survives_every_kill(
    new_place: NewPlace, connect: Connect
) -> None:
    print(f"PYMAP_TEST_SEED={SEED}")
    random, ledger = Random(SEED), Ledger()
    place = new_place("++")
    workers = [Worker(f"w{n}", ledger, Random(f"{SEED} {n}")) for n in range(6)]
    agent: Agent | None = None
    for _ in range(ROUNDS):
        server = await place.pymap()
        if agent is None:
            client = await connect(server)
            await _boxes(client)
            agent = Agent(ledger, {box: place.folder(box) for box in BOXES}, random)
            await client.close()
        await _recovered(server, connect, ledger)
        ended = asyncio.Event()
        clients = [await connect(server) for _ in range(len(workers) + 1)]
        for worker, client in zip(workers, clients, strict=False):
            await worker.enter(client)
        reflecting = _reflecting(clients[-1], ledger, random, ended)
        work = [_worked(job, ended) for job in (*workers, agent)]
        async with running(*work, reflecting) as jobs:
            await asyncio.sleep(random.uniform(0.03, 0.4))  # the moment
            ended.set()
            await server.kill()
            await asyncio.gather(*jobs)
        for client in clients:
            await client.close()
    print(f"{ledger.answered} commands were acknowledged, {len(ledger.told)} UIDs told of")
    assert ledger.answered > ROUNDS * 10, "no load"
    # The last time it ends in order. Nothing is left over, and nothing blocks anybody.
    server = await place.pymap()
    await _recovered(server, connect, ledger)
    await stop(server)
    assert not place.left_in_tmp()
    await _dovecot_agrees(place, connect, ledger)


async def _dovecot_agrees(place: Place, connect: Connect, ledger: Ledger) -> None:
    started = time.monotonic()
    dovecot = await place.dovecot()
    client = await connect(dovecot)
    for box in BOXES:
        await client.append(box, (ledger_message(ledger, f"d.{box}"), b"\\Seen k1"))
    assert time.monotonic() - started < OPENS_WITHIN_S, "a lock is left"
    there = await shown(client, ledger)
    assert {box: len(rows) for box, rows in there.items()} == {
        box: sum(key[0] == box for key in ledger.held) + 1 for box in BOXES
    }
    for (box, name), state in ledger.held.items():
        assert there[box][name] == state, (box, name)
    await client.close()
    await stop(dovecot)
    assert not dovecot.complaints()


def ledger_message(ledger: Ledger, name: str) -> bytes:
    octets = crlf(mail(name))
    ledger.octets[name.encode()] = octets
    return octets


async def test_one_of_two_processes_is_killed(new_place: NewPlace, connect: Connect) -> None:
    """The other one's clients go on, and wait for no lock of the dead."""
    print(f"PYMAP_TEST_SEED={SEED}")
    random, ledger = Random(SEED), Ledger()
    place = new_place("fs")
    stays = await place.pymap()
    await _boxes(await connect(stays))
    agent = Agent(ledger, {box: place.folder(box) for box in BOXES}, random)
    here = [Worker(f"stay{n}", ledger, Random(f"{SEED} {n}")) for n in range(3)]
    there = [Worker(f"die{n}", ledger, Random(f"{SEED} {n} too")) for n in range(3)]
    over = asyncio.Event()
    for worker in here:
        await worker.enter(await connect(stays))
    async with running(*(_worked(job, over) for job in (*here, agent))) as lasting:
        for _ in range(4):
            dies = await place.pymap()
            ended = asyncio.Event()
            for worker in there:
                await worker.enter(await connect(dies))
                await worker.find_all()
            async with running(*(_worked(worker, ended) for worker in there)) as jobs:
                await asyncio.sleep(random.uniform(0.05, 0.4))  # the moment
                ended.set()
                await dies.kill()
                await asyncio.gather(*jobs)
            client = await connect(stays)
            await _settled_for(there, client, ledger)
            await client.close()
            for job in lasting:
                assert not job.done() or job.exception() is None, job.exception()
        over.set()
        await asyncio.gather(*lasting)
    slowest = max(worker.slowest_s for worker in here)
    assert slowest < OPENS_WITHIN_S, f"a command took {slowest:.1f} s"
    client = await connect(stays)
    ledger.settle(await shown(client, ledger))
    await client.close()
    await stop(stays)
    server = await place.pymap()
    await _recovered(server, connect, ledger)
    await stop(server)
    assert not place.left_in_tmp()
    await _dovecot_agrees(place, connect, ledger)


async def _settled_for(workers: list[Worker], client: Mail, ledger: Ledger) -> None:
    """The same as `Ledger.settle`, for messages of these workers only: the others go on."""
    ours = tuple(worker.name.encode() + b"." for worker in workers)
    part = Ledger(
        held={k: s for k, s in ledger.held.items() if k[1].startswith(ours)},
        pending={w.name: ledger.pending.pop(w.name) for w in workers if w.name in ledger.pending},
    )
    before = set(part.held)
    there = await shown(client, ledger, others=True)
    mine = {b: {n: s for n, s in rows.items() if n.startswith(ours)} for b, rows in there.items()}
    part.settle(mine)
    for key in before:
        ledger.held.pop(key, None)
    ledger.held.update(part.held)


def _dead_process() -> int:
    """The number of a process that has just ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


LOCKS = ["dovecot-uidlist.lock", "dovecot-keywords.lock", "subscriptions.lock"]


async def test_a_lock_that_was_left_blocks_nobody(new_place: NewPlace, connect: Connect) -> None:
    """Dovecot's lock files say ``pid:host``, and that process is gone."""
    place = new_place()
    server = await place.pymap()
    client = await connect(server)
    await client.run(b"CREATE box")
    for box in ("INBOX", "box"):
        await client.append(box, (crlf(mail("one")), b""))
    await client.close()
    await stop(server)
    for folder in (place.folder("INBOX"), place.folder("box")):
        for name in LOCKS:
            (folder / name).write_text(f"{_dead_process()}:{socket.gethostname()}")
            place.own(folder / name)
    server = await place.pymap()
    started = time.monotonic()
    client = await connect(server)
    for box in ("INBOX", "box"):
        await client.select(box)
        added = await client.append(box, (crlf(mail("two")), b"newkey"))
        await client.ok(b"UID STORE 1:* +FLAGS (another \\Seen)")
        await client.copy(added.uids, "INBOX" if box == "box" else "box")
        await client.run(b"SUBSCRIBE ", quoted(box))
    assert time.monotonic() - started < OPENS_WITHIN_S
    await client.close()
    await stop(server)
    assert not [
        path for path in place.maildir().rglob("*.lock") if path.name != "subscriptions.lock"
    ]


async def test_a_lock_that_is_held_is_waited_for(new_place: NewPlace, connect: Connect) -> None:
    """Its holder lives, so it is not taken away; nobody else waits; then all goes on."""
    place = new_place()
    server = await place.pymap()
    client = await connect(server)
    await client.run(b"CREATE box")
    await client.append("INBOX", (crlf(mail("one")), b""))
    await client.close()
    lock = place.folder("INBOX") / "dovecot-uidlist.lock"
    lock.write_text(f"{os.getpid()}:{socket.gethostname()}")
    place.own(lock)
    first, other = await connect(server), await connect(server)
    async with running(_append(first, "INBOX", "two")) as (waiting,):
        started = time.monotonic()
        for n in range(20):
            await other.append("box", (crlf(mail(f"{n}")), b"k"))
            await other.select("box")
        assert time.monotonic() - started < OPENS_WITHIN_S
        assert not waiting.done()
        assert lock.exists()
        lock.unlink()
        async with asyncio.timeout(10):
            await waiting
    await other.select("INBOX")
    assert await other.message_ids() == {b"one": 1, b"two": 2}


async def _append(client: Mail, box: str, name: str) -> None:
    await client.append(box, (crlf(mail(name)), b""))


async def test_what_a_kill_leaves_in_tmp_is_removed(new_place: NewPlace, connect: Connect) -> None:
    """In the midst of large messages, so that their files are there for sure."""
    place = new_place()
    octets = crlf(mail("large", b"x" * 70 + b"\n")) + b"0123456789abcde\n" * 600_000
    seen = 0
    for _ in range(4):
        server = await place.pymap()
        clients = [await connect(server) for _ in range(3)]
        async with running(*(_append_large(client, octets) for client in clients)) as jobs:
            seen += await becomes(lambda: bool(place.left_in_tmp()))
            await server.kill()
            await asyncio.gather(*jobs)
    if not seen:
        pytest.fail("no file was ever seen in tmp: is it still where messages are written?")
    server = await place.pymap()
    client = await connect(server, "INBOX")
    rows = await client.everything(b"RFC822.SIZE")
    assert {int(items[b"RFC822.SIZE"]) for items in rows.values()} <= {len(crlf(octets))}
    await client.close()
    await stop(server)
    assert not place.left_in_tmp()


async def _append_large(client: Mail, octets: bytes) -> None:
    try:
        while True:
            await client.append("INBOX", (octets, b""), (octets, b""))
    except (EOFError, ConnectionError):
        return
