"""Two servers at once on one tree, under load, with a delivery agent beside them.

They never disagree: no UID ever means two messages, nothing that was acknowledged is lost, and at
the end both show the same.
"""

from __future__ import annotations

import asyncio
import time
from random import Random

import pytest

from .client import Mail, flags, quoted
from .conftest import Connect, NewPlace
from .deliver import crlf, mail
from .ledger import BOXES, FLAGS, Agent, Ledger, Worker, shown
from .picture import picture
from .place import SEED, stop

TURN_S = 0.6
TURNS = 3


class Guest(Worker):
    """A worker that changes servers, whose modseqs are not the same."""

    with_ = b""


@pytest.mark.parametrize(
    ("layout", "kinds"),
    [
        ("++", ("pymap", "dovecot")),
        ("fs", ("pymap", "dovecot")),
        ("++", ("pymap", "pymap")),
    ],
)
async def test_two_servers_never_disagree(
    new_place: NewPlace, connect: Connect, layout: str, kinds: tuple[str, str]
) -> None:
    print(f"PYMAP_TEST_SEED={SEED}")
    place, random, ledger = new_place(layout), Random(SEED), Ledger()
    servers = [await place.start(kind) for kind in kinds]
    client = await connect(servers[0])
    for box in BOXES:
        if box != "INBOX":
            await client.run(b"CREATE ", quoted(box))
        # Which letter means which keyword is settled before: see below.
        first = await client.append(box, (crlf(mail("first")), b" ".join(FLAGS)))
        await client.select(box)
        await client.ok(b"UID STORE %d +FLAGS (\\Deleted)" % first.uids[0])
        await client.ok(b"EXPUNGE")
    await client.close()
    agent = Agent(ledger, {box: place.folder(box) for box in BOXES}, random)
    workers = [Guest(f"w{n}", ledger, Random(f"{SEED} {n}")) for n in range(6)]
    for turn in range(TURNS):
        # Each goes on with the other server: what it was promised by this one holds there.
        clients: list[Mail] = []
        for n, worker in enumerate(workers):
            clients.append(client := await connect(servers[(n + turn) % 2]))
            await worker.enter(client, kinds[(n + turn) % 2])
            await worker.find_all()
        end = time.monotonic() + TURN_S

        def goes_on(end: float = end) -> bool:
            return time.monotonic() < end

        await asyncio.gather(
            *(worker.run(goes_on) for worker in workers), agent.run(goes_on, pause_s=0.02)
        )
        for client in clients:
            await client.close()
    assert not ledger.pending
    print(f"{ledger.answered} commands were acknowledged, {len(ledger.told)} UIDs told of")
    assert ledger.answered > 100, "no load"
    ends = [await connect(server) for server in servers]
    for client in ends:
        ledger.settle(await shown(client, ledger))
        await client.ok(b"UNSELECT")
    first, second = [await picture(client) for client in ends]
    assert not first.difference(second)
    for client in ends:
        await client.close()
    for server in servers:
        await stop(server)
    # And so does each that starts anew.
    for kind in ("dovecot", "pymap"):
        server = await place.start(kind)
        client = await connect(server)
        ledger.settle(await shown(client, ledger))
        assert not first.difference(await picture(client))
        await client.close()
        await stop(server)
    assert not place.left_in_tmp()


async def test_new_keywords_on_both_sides(new_place: NewPlace, connect: Connect) -> None:
    """Each server takes letters for keywords that are new, one right after the other: no letter
    means two of them."""
    place = new_place()
    servers = [await place.pymap(), await place.dovecot()]
    clients = [await connect(server) for server in servers]
    for n in range(12):
        await clients[0].append("INBOX", (crlf(mail(f"m{n}")), b""))
    for client in clients:
        await client.select("INBOX")
    wanted = {n: {b"\\seen"} for n in range(1, 13)}
    for n in range(24):
        client, uid = clients[n % 2], n // 2 + 1
        await client.ok(b"NOOP")
        await client.ok(b"UID STORE %d +FLAGS (\\Seen kw%d)" % (uid, n))
        wanted[uid].add(b"kw%d" % n)
    for client, kind in zip(clients, ("pymap", "dovecot"), strict=True):
        await client.ok(b"NOOP")
        rows = {uid: flags(items) for uid, items in (await client.everything()).items()}
        assert rows == wanted, (kind, (place.maildir() / "dovecot-keywords").read_text())
