"""IDLE: a thousand listeners hear of everything, are written to seldom, and cost no CPU time."""

from __future__ import annotations

import asyncio
import time

from pymap.backend.dict import DictBackend
from pymap.imap.server import Client as ServerClient
from pymap.imap.server import serve

from .client import Client
from .conftest import Connect, Spawn


async def test_1000_listeners_hear_of_an_append(spawn: Spawn, connect: Connect) -> None:
    process = await spawn("--limit", "connections_per_user=1001")
    writer = await (await connect(process)).login()
    before = process.memory
    idlers = [await (await connect(process)).login(b"INBOX") for _ in range(1000)]
    for client in idlers:
        await client.idle()
    print(f"idle, logged in and selected: {(process.memory - before) / 1000 / 1024:.1f} KiB each")
    started = time.perf_counter()
    assert (await writer.append(b"Subject: news\r\n\r\n")).condition == b"OK"
    answered = time.perf_counter()
    for client in idlers:
        assert (await client.line()) == b"* 1 EXISTS\r\n"
        assert (await client.line()).endswith(b" RECENT\r\n")
    print(
        f"1000 listeners: APPEND {(answered - started) * 1000:.0f} ms,"
        f" all heard {(time.perf_counter() - started) * 1000:.0f} ms"
    )
    assert time.perf_counter() - started < 2
    # Nobody does anything: no CPU time.
    await writer.ok(b"NOOP")
    cpu = process.cpu_s
    await asyncio.sleep(1)  # the thing measured, no synchronisation
    print(f"1000 idle connections: {(process.cpu_s - cpu) * 100:.0f} % of a core")
    assert process.cpu_s - cpu <= 0.03
    for client in idlers[:50]:
        client.send(b"DONE\r\n")
        assert (await client.line()).startswith(b"idle OK")


async def test_changes_in_one_go_are_few_writes(monkeypatch) -> None:
    """100 changes of one batch of commands: the listener pulls once or twice, not 100 times."""
    backend = DictBackend({"demouser": "demopass"})
    async with serve(backend) as server:
        listener = await (await Client.connect(server.addresses[0])).login(b"INBOX")
        await listener.idle()
        writer = await (await Client.connect(server.addresses[0])).login()
        (idling,) = [c for c in server.clients if c.session.view is not None]
        flushes = 0
        real = ServerClient._flush

        def counted(self: ServerClient) -> None:
            nonlocal flushes
            flushes += self is idling and bool(self._out)
            real(self)

        monkeypatch.setattr(ServerClient, "_flush", counted)
        writer.send(b"".join(b"a%d APPEND INBOX {3+}\r\nabc\r\n" % n for n in range(100)))
        await writer.until(b"a99")
        exists = []
        while b"* 100 EXISTS\r\n" not in exists:
            exists.append(await listener.line())
        print(f"100 changes: {flushes} writes to the listener")
        assert flushes <= 20
        await listener.close()
        await writer.close()


async def test_idle_hears_of_everything_in_order(imap_server, connect: Connect) -> None:
    server = await imap_server()
    writer = await (await connect(server)).login(b"INBOX")
    listener = await (await connect(server)).login(b"INBOX")
    await listener.idle()
    exists, flags = 0, {}
    for n in range(30):
        await writer.append(b"x")
        await writer.ok(b"STORE 1 +FLAGS (k%d)" % (n % 3))
        if n % 5 == 4:
            await writer.ok(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
            await writer.ok(b"EXPUNGE")
    listener.send(b"DONE\r\n")
    answer = await listener.until(b"idle")
    for response in answer.untagged:
        words = response.split()
        if words[2:3] == [b"EXISTS"]:
            assert int(words[1]) >= exists
            exists = int(words[1])
        elif words[2:3] == [b"EXPUNGE"]:
            assert 1 <= int(words[1]) <= exists
            exists -= 1
        elif words[2:3] == [b"FETCH"]:
            assert 1 <= int(words[1]) <= exists
            flags[int(words[1])] = response
    assert exists == 24


async def test_deleting_the_mailbox_ends_those_who_idle_in_it(
    imap_server, connect: Connect
) -> None:
    server = await imap_server()
    writer = await (await connect(server)).login()
    await writer.ok(b"CREATE box")
    listeners = [await (await connect(server)).login(b"box") for _ in range(20)]
    for client in listeners:
        await client.idle()
    await writer.ok(b"DELETE box")
    for client in listeners:
        assert (await client.rest())[-1].startswith(b"* BYE")
    await writer.ok(b"NOOP")


async def test_what_is_not_done_ends_idle_as_bad(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await (await connect(server)).login(b"INBOX")
    for line in (b"DONE x", b"", b"a NOOP", b"\xff", b" DONE", b"DON"):
        await client.idle()
        client.send(line + b"\r\n")
        assert (await client.until(b"idle")).condition == b"BAD"
    await client.idle()
    await client.pour([b"x" * 65536] * 40)  # a line without end
    assert (await client.rest())[-1].startswith(b"* BYE")


async def test_idle_while_others_only_read_writes_nothing(imap_server, connect: Connect) -> None:
    server = await imap_server("demo")
    listener = await (await connect(server)).login(b"INBOX")
    await listener.idle()
    other = await (await connect(server)).login(b"INBOX")
    await other.ok(b"FETCH 1:* BODY.PEEK[]")
    await other.ok(b"SEARCH ALL")
    await other.ok(b"STORE 1 +FLAGS.SILENT (\\Seen)")  # it is already
    listener.send(b"DONE\r\n")
    assert (await listener.until(b"idle")).untagged == []
