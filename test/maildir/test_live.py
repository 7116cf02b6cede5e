"""What others do to the tree is seen: at once in IDLE, by everyone else at the next command.

Others are delivery agents, programs that rename and remove files, a second pymap, and Dovecot.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest
from server.client import becomes
from server.process import Process

from .client import Mail, by_uid, flags, quoted
from .conftest import Connect, NewPlace
from .deliver import crlf, deliver, mail
from .place import Place

AT_ONCE_S = 1.0


async def hears(client: Mail, pattern: bytes, within_s: float = AT_ONCE_S) -> bytes:
    """Read until a response matches; it must come in time."""
    heard = []
    try:
        async with asyncio.timeout(within_s):
            while True:
                heard.append(response := await client.response())
                assert response, "the server closed the connection"
                if re.search(pattern, response):
                    return response
    except TimeoutError:
        raise AssertionError(f"nothing like {pattern!r} in {within_s} s, only {heard}") from None


async def at_noop(client: Mail) -> bytes:
    return b"".join(await client.ok(b"NOOP"))


async def prepared(place: Place, connect: Connect, count: int = 3) -> Process:
    """A server, and messages m1, m2 ... in INBOX and in box."""
    server = await place.pymap()
    client = await connect(server)
    await client.run(b"CREATE box")
    for box in ("INBOX", "box"):
        await client.append(box, *((crlf(mail(f"m{n}")), b"") for n in range(1, count + 1)))
    await client.close()
    return server


def reflag(path: Path, letters: str) -> Path:
    """As mutt does: the flags of a message, by renaming it."""
    base = path.name.partition(":2,")[0]
    cur = path.parent.parent / "cur"
    new = cur / f"{base}:2,{letters}"
    try:
        path.rename(new)
    except FileNotFoundError:  # pymap has taken it out of `new` meanwhile
        (cur / f"{base}:2,").rename(new)
    return new


@pytest.mark.parametrize("layout", ["++", "fs"])
async def test_idle_hears_at_once(new_place: NewPlace, connect: Connect, layout: str) -> None:
    place = new_place(layout)
    server = await prepared(place, connect)
    for box in ("INBOX", "box"):
        client = await connect(server)
        await client.ok(b"ENABLE QRESYNC")
        await client.select(box)
        await client.idle()
        for n in range(4, 9):
            deliver(place.folder(box), mail(f"m{n}"))
            await hears(client, rb"\* %d EXISTS" % n)
        path = reflag(place.file_of(b"<m2>", box), "FS")
        line = await hears(client, rb"\* 2 FETCH .*Seen")
        assert b"\\Flagged" in line
        reflag(path, "F")
        assert b"\\Seen" not in await hears(client, rb"\* 2 FETCH .*Flagged")
        # Others may move what is new to cur, with flags at once.
        reflag(deliver(place.folder(box), mail("m9")), "R")
        await hears(client, rb"\* 9 EXISTS")
        place.file_of(b"<m3>", box).unlink()
        await hears(client, rb"\* VANISHED 3\r")
        for n in range(10, 40):  # many at once
            deliver(place.folder(box), mail(f"m{n}"))
        await hears(client, rb"\* 38 EXISTS")
        client.send(b"DONE\r\n")
        await client.until(b"idle")
        rows = await client.message_ids()
        assert sorted(rows.values()) == [1, 2, *range(4, 40)]
        assert flags((await client.fetch(b"9"))[9]) == {b"\\answered"}
        await client.close()


async def test_the_next_command_shows_it(new_place: NewPlace, connect: Connect) -> None:
    """Many times in a row, as fast as it goes: two changes within the grain of a file system's
    clock are two changes."""
    place = new_place()
    server = await prepared(place, connect)
    client = await connect(server)
    await client.ok(b"ENABLE QRESYNC")
    await client.select("INBOX")
    inbox = place.maildir()
    for n in range(4, 34):
        deliver(inbox, mail(f"m{n}"))
        assert b"* %d EXISTS" % n in await at_noop(client), n
    path = place.file_of(b"<m7>")
    for n in range(30):
        path = reflag(path, "F" if n % 2 else "S")
        heard = await at_noop(client)
        assert (b"\\Flagged" if n % 2 else b"\\Seen") in heard, (n, heard)
    for n in range(20, 30):
        place.file_of(b"<m%d>" % n).unlink()
        assert b"* VANISHED %d\r" % n in await at_noop(client), n
    # Not only NOOP, and also when the mailbox is not selected.
    deliver(inbox, mail("m50"))
    assert (await client.status("INBOX", b"MESSAGES"))[b"MESSAGES"] == 24
    deliver(place.folder("box"), mail("m51"))
    deliver(place.folder("box"), mail("m52"))
    status = await client.status("box", b"MESSAGES UIDNEXT UNSEEN")
    assert status == {b"MESSAGES": 5, b"UIDNEXT": 6, b"UNSEEN": 5}
    reflag(place.file_of(b"<m52>", "box"), "S")
    assert (await client.status("box", b"UNSEEN"))[b"UNSEEN"] == 4
    assert (await client.select("box")).exists == 5
    deliver(place.folder("box"), mail("m53"))
    assert b"* 6 EXISTS" in b"".join(await client.ok(b"CHECK"))


async def test_a_folder_that_others_make_or_remove(new_place: NewPlace, connect: Connect) -> None:
    for layout in ("++", "fs"):
        place = new_place(layout)
        server = await prepared(place, connect)
        client = await connect(server)
        for name in ("made", "made/below"):
            for sub in ("", "cur", "new", "tmp"):
                folder = place.folder(name) / sub
                if not folder.exists():
                    folder.mkdir()
                place.own(folder)
        deliver(place.folder("made/below"), mail("one"))
        assert {"made", "made/below"} <= set(await client.names())
        await client.select("made/below")
        assert await client.message_ids() == {b"one": 1}
        await client.ok(b"UNSELECT")
        (place.maildir() / "subscriptions").write_text("made\n")
        place.own(place.maildir() / "subscriptions")
        assert set(await client.names(b"LSUB")) == {"made"}
        for sub in ("cur", "new", "tmp"):
            for path in (place.folder("box") / sub).iterdir():
                path.unlink()
            (place.folder("box") / sub).rmdir()
        for path in place.folder("box").iterdir():
            path.unlink()
        place.folder("box").rmdir()
        assert "box" not in await client.names()
        answer = await client.command(b"SELECT box")
        assert answer.tagged.split()[1:3] == [b"NO", b"[NONEXISTENT]"], answer.tagged


@pytest.mark.parametrize("other", ["pymap", "dovecot"])
async def test_another_server_on_the_same_tree(
    new_place: NewPlace, connect: Connect, other: str
) -> None:
    """Each change that it acknowledged is in the answer to the NOOP that follows; IDLE hears it."""
    place = new_place()
    here = await prepared(place, connect, 10)
    there = await place.start(other)
    idler = await connect(here)
    await idler.ok(b"ENABLE QRESYNC")
    await idler.select("INBOX")
    watcher = await connect(here)
    await watcher.ok(b"ENABLE QRESYNC")
    await watcher.select("INBOX")
    actor = await connect(there, "INBOX")

    async def seen(pattern: bytes) -> None:
        heard = await at_noop(watcher)
        assert re.search(pattern, heard), (pattern, heard)
        await hears(idler, pattern)

    await idler.idle()
    highest = 0
    for n in range(8):
        added = await actor.append("INBOX", (crlf(mail(f"a{n}")), b"\\Flagged key%d" % n))
        assert added.uids == [n + 11]
        await seen(rb"\* 1[0-9] EXISTS")
        rows = await watcher.fetch(b"%d" % added.uids[0], b"MODSEQ")
        assert flags(rows[n + 11]) == {b"\\flagged", b"key%d" % n}
        await actor.ok(b"UID STORE %d +FLAGS (\\Seen New%d)" % (n + 1, n))
        await seen(rb"\* %d FETCH .*New%d" % (n + 1, n))
        await actor.ok(b"UID STORE %d -FLAGS (\\Seen)" % (n + 1))
        await seen(rb"\* %d FETCH " % (n + 1))
        rows = await watcher.fetch(b"%d" % (n + 1), b"MODSEQ")
        assert flags(rows[n + 1]) == {b"New%d" % n}
        modseq = int(rows[n + 1][b"MODSEQ"][0])
        assert modseq > highest
        highest = modseq
        await actor.ok(b"UID STORE %d +FLAGS (\\Deleted)" % (n + 11))
        await actor.ok(b"UID EXPUNGE %d" % (n + 11))
        await seen(rb"\* VANISHED %d\r" % (n + 11))
    copied = await actor.copy([1], "box")
    assert copied.target == [11]
    assert (await watcher.status("box", b"MESSAGES"))[b"MESSAGES"] == 11
    await actor.copy([2], "box", b"MOVE")
    await seen(rb"\* VANISHED 2\r")
    # And the other way: what is done here is at once there. Dovecot looks when it is asked.
    idler.send(b"DONE\r\n")
    await idler.until(b"idle")
    await idler.ok(b"UID STORE 5 +FLAGS.SILENT (Mine)")
    await idler.append("INBOX", (crlf(mail("mine")), b""))
    heard = by_uid(await actor.ok(b"FETCH 1:* (UID FLAGS)"))
    await actor.ok(b"NOOP")
    rows = await actor.everything()
    assert b"Mine" in flags(rows[5]), (heard, rows)
    assert max(rows) == 19
    # Mailboxes, and subscriptions.
    await actor.run(b"CREATE ", quoted("Neu/für alle"))
    await actor.run(b"SUBSCRIBE ", quoted("Neu/für alle"))
    assert "Neu/für alle" in await watcher.names()
    assert set(await watcher.names(b"LSUB")) == {"Neu/für alle"}
    await actor.run(b"RENAME Neu Alt")
    assert {"Alt", "Alt/für alle"} <= set(await watcher.names())
    assert "Neu/für alle" not in await watcher.names()
    await actor.run(b"DELETE ", quoted("Alt/für alle"))
    assert "Alt/für alle" not in await watcher.names()


async def test_modseqs_of_two_processes_are_one_clock(
    new_place: NewPlace, connect: Connect
) -> None:
    """Each change has a modseq above all that either process has told of before."""
    place = new_place()
    first = await prepared(place, connect)
    clients = [await connect(server) for server in (first, await place.pymap())]
    for client in clients:
        await client.ok(b"ENABLE CONDSTORE")
        await client.select("INBOX")
    told = 0
    for n in range(40):
        client = clients[n % 2]
        heard = by_uid(await client.ok(b"UID STORE 2 FLAGS (k%d)" % n))
        modseq = int(heard[2][b"MODSEQ"][0])
        assert modseq > told, n
        told = modseq
        # UNCHANGEDSINCE below it fails in the other process too, right away.
        failed = await clients[(n + 1) % 2].command(
            b"UID STORE 2 (UNCHANGEDSINCE %d) FLAGS.SILENT (lost)" % (modseq - 1)
        )
        assert b"[MODIFIED 2]" in failed.tagged, (n, failed)
    status = [(await c.status("INBOX", b"HIGHESTMODSEQ"))[b"HIGHESTMODSEQ"] for c in clients]
    assert status == [told, told]


async def test_a_mailbox_deleted_by_another_process(new_place: NewPlace, connect: Connect) -> None:
    """Who has it selected is told in some way; UIDs of a new one of that name are others'."""
    place = new_place()
    here = await prepared(place, connect)
    there = await place.pymap()
    client, other = await connect(here, "box"), await connect(there)
    before = (await client.select("box")).uid_validity
    await other.run(b"DELETE box")
    await other.run(b"CREATE box")
    await other.append("box", (crlf(mail("another")), b""))
    try:
        answer = await client.command(b"UID FETCH 1:* (FLAGS BODY.PEEK[])")
        assert b"SERVERBUG" not in answer.tagged
        assert not any(b"<another>" in response for response in answer.untagged)
    except EOFError:
        pass  # BYE is an answer, too: RFC 2180 3.3
    fresh = await connect(here)
    selected = await fresh.select("box")
    assert selected.uid_validity > before
    assert list(await fresh.message_ids()) == [b"another"]


async def test_1000_that_idle_cost_nothing_and_hear_all(
    new_place: NewPlace, connect: Connect
) -> None:
    place = new_place()
    server = await prepared(place, connect)
    quiet = server.descriptors
    idlers = []
    for n in range(1000):
        idlers.append(client := await connect(server, "box" if n % 3 == 0 else "INBOX"))
        await client.idle()
    # A connection has its socket; what is watched is watched once.
    assert server.descriptors <= quiet + 1000 + 10
    client = await connect(server)
    await client.ok(b"NOOP")
    cpu = server.cpu_s
    await asyncio.sleep(1)  # the thing measured, no synchronisation
    spent = server.cpu_s - cpu
    print(f"1000 idle connections: {spent * 100:.0f} % of a core")
    assert spent <= 0.03
    started = time.monotonic()
    deliver(place.folder("INBOX"), mail("m4"))
    deliver(place.folder("box"), mail("m4"))
    for idler in idlers:
        await hears(idler, rb"\* 4 EXISTS", 3)
    print(f"1000 heard of it in {time.monotonic() - started:.2f} s")
    assert time.monotonic() - started < 2
    # Somebody who is busy in another mailbox does not wake them.
    await client.run(b"CREATE busy")
    for idler in idlers:  # let what is being said be said
        idler.send(b"DONE\r\n")
        await idler.until(b"idle")
        await idler.idle()
    cpu = server.cpu_s
    for n in range(20):
        deliver(place.folder("busy"), mail(f"m{n}"))
    await asyncio.sleep(0.5)  # the thing measured
    assert server.cpu_s - cpu <= 0.05


async def test_opening_a_large_mailbox_lets_others_work(
    new_place: NewPlace, connect: Connect
) -> None:
    """2,000 files that nobody has seen yet; another client's answers come meanwhile."""
    place = new_place()
    server = await prepared(place, connect)
    folder = place.folder("box")
    for n in range(2000):
        path = folder / "cur" / f"1700000000.M{n}P1.there:2,S"
        path.write_bytes(mail(f"big{n}"))
        place.own(path)
    other = await connect(server, "INBOX")
    waits = []
    opening = asyncio.ensure_future(_opened(await connect(server)))
    while not opening.done():
        started = time.monotonic()
        await other.ok(b"NOOP")
        waits.append(time.monotonic() - started)
        started = time.monotonic()
        newcomer = await connect(server)
        waits.append(time.monotonic() - started)
        await newcomer.close()
    assert await opening == 2003
    print(f"{len(waits)} answers meanwhile, the slowest after {max(waits) * 1000:.0f} ms")
    assert max(waits) < 0.5


async def _opened(client: Mail) -> int:
    exists = (await client.select("box")).exists
    rows = await client.everything(b"RFC822.SIZE", b"INTERNALDATE")
    assert len(rows) == exists
    return exists


async def test_delivery_while_all_is_read(new_place: NewPlace, connect: Connect) -> None:
    """A delivery agent at work and a client that fetches all the time: nothing is missed."""
    place = new_place()
    server = await prepared(place, connect)
    client = await connect(server, "INBOX")
    count = 3
    end = time.monotonic() + 1
    while time.monotonic() < end:
        count += 1
        deliver(place.maildir(), mail(f"m{count}"))
        await client.ok(b"NOOP")
        await client.fetch(b"%d:*" % max(1, count - 5), b"ENVELOPE", b"BODY.PEEK[HEADER]")
    found = await client.message_ids()
    assert sorted(found.values()) == list(range(1, count + 1))
    assert all(found[b"m%d" % n] == n for n in range(1, count + 1))


async def test_own_changes_are_not_news(new_place: NewPlace, connect: Connect) -> None:
    """The files that pymap itself renames must not come back as changes by others: that would
    cost modseqs and wake everybody."""
    place = new_place()
    server = await prepared(place, connect)
    client = await connect(server)
    await client.select("INBOX", b"(CONDSTORE)")
    heard = by_uid(await client.ok(b"UID STORE 1:3 +FLAGS (\\Seen key)"))
    modseqs = {int(items[b"MODSEQ"][0]) for items in heard.values()}
    assert len(modseqs) == 1
    assert await at_noop(client) == b""
    assert (await client.status("INBOX", b"HIGHESTMODSEQ"))[b"HIGHESTMODSEQ"] == max(modseqs)
    idler = await connect(server, "INBOX")
    await idler.idle()
    await client.ok(b"UID STORE 2 +FLAGS.SILENT (\\Flagged)")
    await hears(idler, rb"\* 2 FETCH .*Flagged")
    assert not await becomes(lambda: len(idler.buffer) > 0, 0.3), bytes(idler.buffer)
