"""NOTIFY: news between commands. Never inside an answer, never more than the client reads, shared
by all who listen, and nothing is left behind."""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from remote_store import RemoteAccount, RemoteBackend, RemoteMailbox

from pymap.backend.api import MailboxStatus, User
from pymap.backend.dict import DictBackend
from pymap.backend.errors import Unavailable
from pymap.imap.interests import Interests
from pymap.imap.server import Client as ServerClient
from pymap.imap.server import Server, serve
from pymap.limits import Limits
from pymap.wire.commands import Event

from .client import Client, becomes
from .conftest import Connect, Spawn, alone

ALL = b"NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange))"
PERSONAL = b" (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))"
MESSAGE = b"Subject: news\r\n\r\nbody\r\n"


async def listening(to: Server, connect: Connect, command: bytes = ALL + PERSONAL) -> Client:
    client = await (await connect(to)).login(b"INBOX")
    await client.ok(command)
    return client


def listeners(server: Server) -> int:
    """Who is still called for changes of the demo user's mailboxes."""
    account = server.backend.account_of("demouser")  # type: ignore[attr-defined]
    boxes = account._mailboxes.values()
    return sum(len(box.index.listeners) for box in boxes)


async def test_news_is_never_inside_an_answer(imap_server, connect: Connect) -> None:
    """Large answers leave in pieces, and meanwhile there is news all the time."""
    server = await imap_server()
    writer = await (await connect(server)).login()
    large = b"Subject: large\r\n\r\n" + b"x" * 300_000
    for _ in range(3):
        await writer.append(large)
    await writer.ok(b"CREATE other")
    listener = await listening(server, connect)
    stop = False

    async def write() -> None:
        while not stop:
            await writer.append(MESSAGE, b"other")
            await writer.append(MESSAGE)

    writing = asyncio.create_task(write())
    for _ in range(20):
        answer = await listener.command(b"UID FETCH 1:3 (UID BODY.PEEK[])")
        bodies = [line for line in answer.untagged if b"BODY[]" in line[:40]]
        assert len(bodies) == 3
        assert all(body.endswith(large + b")\r\n") for body in bodies)
    stop = True
    await writing


@pytest.mark.parametrize("begun", [b"a NO", b"a APPEND INBOX {100}\r\n", b"a NOOP {5+}\r\nab"])
async def test_news_waits_while_a_command_comes_in(
    imap_server, connect: Connect, begun: bytes
) -> None:
    server = await imap_server()
    writer = await (await connect(server)).login()
    listener = await listening(server, connect)
    (ours,) = [c for c in server.clients if c.session.notified is not None]
    listener.send(begun)
    if begun.endswith(b"{100}\r\n"):
        assert (await listener.line()).startswith(b"+ ")
    assert await becomes(lambda: not ours.connection.framer.between)
    await writer.append(MESSAGE)
    await writer.ok(b"NOOP")
    assert not listener.buffer
    rest = {b"a NO": b"OP\r\n", b"a NOOP {5+}\r\nab": b"cde\r\n"}
    listener.send(rest.get(begun, b"x" * 100 + b"\r\n"))
    answer = await listener.until(b"a")
    if not any(b" EXISTS" in line for line in answer.untagged):  # it was BAD: then it comes now
        assert await listener.line() == b"* 1 EXISTS\r\n"


async def test_a_burst_is_told_in_few_writes(monkeypatch) -> None:
    backend = DictBackend({"demouser": "demopass"})
    async with serve(backend) as server:
        listener = await (await Client.connect(server.addresses[0])).login(b"INBOX")
        await listener.ok(ALL + PERSONAL)
        writer = await (await Client.connect(server.addresses[0])).login()
        (ours,) = [c for c in server.clients if c.session.notified is not None]
        writes = 0
        real = ServerClient._flush

        def counted(self: ServerClient) -> None:
            nonlocal writes
            writes += self is ours and bool(self._out)
            real(self)

        monkeypatch.setattr(ServerClient, "_flush", counted)
        writer.send(b"".join(b"a%d APPEND INBOX {3+}\r\nabc\r\n" % n for n in range(200)))
        await writer.until(b"a199")
        while await listener.line() != b"* 200 EXISTS\r\n":
            pass
        assert writes <= 40
        await listener.close()
        await writer.close()


async def test_who_does_not_read_is_told_once_when_it_does(imap_server, connect: Connect) -> None:
    server = await imap_server()
    writer = await (await connect(server)).login()
    for _ in range(100):
        await writer.append(b"Subject: %b\r\n\r\n" % (b"x" * 1000))
    await writer.ok(b"SELECT INBOX")
    listener = await connect(server, limit=1024)
    await listener.login(b"INBOX")
    await listener.ok(ALL)
    (ours,) = [c for c in server.clients if c.session.notified is not None]
    # The client reads nothing, and its answers fill all that is between.
    listener.reader._transport.pause_reading()  # type: ignore[attr-defined]
    while not ours._paused:
        listener.send(b"a FETCH 1:* (BODY.PEEK[])\r\n" * 20)
        await asyncio.sleep(0.01)
    held = ours.sent
    for n in range(300):
        await writer.ok(b"STORE 1:* %cFLAGS.SILENT (\\Flagged)" % (b"+-"[n % 2]))
    assert ours.sent == held
    assert not ours._out
    listener.reader._transport.resume_reading()  # type: ignore[attr-defined]
    listener.send(b"end NOOP\r\n")
    answer = await listener.until(b"end")
    told = [line for line in answer.untagged if re.match(rb"\* \d+ FETCH \(UID \d+ FLAGS", line)]
    assert len(told) <= 200


async def test_too_many_mailboxes_are_refused(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(notify_mailboxes=3))
    client = await (await connect(server)).login()
    for n in range(2):
        await client.ok(b"CREATE box%d" % n)
    await client.ok(b"NOTIFY SET (PERSONAL (MessageNew MessageExpunge))")
    other = await (await connect(server)).login()
    await other.ok(b"CREATE more")
    # One that works until it is too much is told so, and then nothing.   RFC 5465 5.8
    assert (await client.line()).startswith(b"* OK [NOTIFICATIONOVERFLOW] ")
    await other.append(MESSAGE)
    assert await client.ok(b"NOOP") == []
    answer = await client.command(b"NOTIFY SET STATUS (PERSONAL (MessageNew MessageExpunge))")
    assert answer.tagged.split(b" ", 1)[1].startswith(b"NO [NOTIFICATIONOVERFLOW] ")
    assert not answer.untagged
    # Names alone cost nothing.
    await client.ok(b"NOTIFY SET (PERSONAL (MailboxName))")
    for names in (
        b"MAILBOXES (a b c d) (MailboxName)",
        b"MAILBOXES a NONE) (MAILBOXES (b c d) NONE",
    ):
        answer = await client.command(b"NOTIFY SET (", names, b")")
        assert b" NO [NOTIFICATIONOVERFLOW] " in answer.tagged


async def test_1000_mailboxes(imap_server, connect: Connect) -> None:
    server = await imap_server()
    account = server.backend.account_of("demouser")
    for n in range(999):
        await account.create(f"box{n}")
    writer = await (await connect(server)).login()
    clients = [await (await connect(server)).login() for _ in range(10)]
    for client in clients:
        began = time.perf_counter()
        found = await client.ok(b"NOTIFY SET STATUS" + PERSONAL)
        print(f"NOTIFY SET STATUS: {1000 * (time.perf_counter() - began):.0f} ms")
        assert len(found) == 1000
    await writer.append(MESSAGE, b"box500")
    for client in clients:
        assert re.match(rb"\* STATUS box500 \(MESSAGES 1 UIDNEXT 2 ", await client.line())
    for n in range(1000):
        await writer.append(MESSAGE, b"box%d" % n if n < 999 else b"INBOX")
    for client in clients:
        told: set[bytes] = set()
        while len(told) < 1000:
            told.add((await client.line()).split(b" ")[2])
    assert listeners(server) == 10_000
    for client in clients[:5]:
        await client.ok(b"NOTIFY NONE")
    for client in clients[5:]:
        client.reset()
    assert await becomes(lambda: not listeners(server))
    assert not server.watched_accounts._watched


async def test_what_is_watched_is_watched_once(connect: Connect) -> None:
    """Not a task for each session: one for each mailbox, and one for the account."""
    local = DictBackend({"demouser": "demopass"})
    async with serve(RemoteBackend(local)) as server:
        writer = await (await connect(server)).login()
        for n in range(4):
            await writer.ok(b"CREATE box%d" % n)
        before = len(asyncio.all_tasks())
        clients = [await listening(server, connect) for _ in range(20)]
        assert await becomes(lambda: not server.tasks)
        assert len(asyncio.all_tasks()) - before <= 5 + 1
        for n in range(4):
            await writer.append(MESSAGE, b"box%d" % n)
            for client in clients:
                assert b"STATUS box%d " % n in await client.line()
        # No columns of a mailbox that nobody has selected.
        opened = {o.mailbox.id: o for o in server.open_mailboxes._open.values()}
        filled = [o for o in opened.values() if o._filled]
        assert (len(opened), len(filled)) == (5, 1)
        for client in clients:
            await client.ok(b"LOGOUT")
            await client.close()
        await writer.close()
        await alone(server)
        assert await becomes(lambda: len(asyncio.all_tasks()) <= before)


@pytest.mark.parametrize("end", ["reset", "LOGOUT", "UNAUTHENTICATE", "NOTIFY NONE", "CLOSE"])
async def test_nothing_is_left_behind(imap_server, connect: Connect, end: str) -> None:
    server = await imap_server()
    client = await listening(server, connect)
    assert listeners(server) == 2
    if end == "reset":
        client.reset()
    else:
        await client.ok(end.encode())
    if end == "CLOSE":
        assert listeners(server) == 1
        await client.ok(b"NOTIFY NONE")
    assert await becomes(lambda: not listeners(server))
    assert not server.watched_accounts._watched


async def test_a_client_that_never_pauses_hears_of_others(imap_server, connect: Connect) -> None:
    """Pipelined without end: news comes at the end of each command."""
    server = await imap_server()
    writer = await (await connect(server)).login()
    await writer.ok(b"CREATE other")
    listener = await listening(server, connect)
    listener.send(b"".join(b"p%d NOOP\r\n" % n for n in range(20_000)))
    await listener.until(b"p0")
    await writer.append(MESSAGE, b"other")
    answer = await listener.until(b"p19999")
    at = next(n for n, line in enumerate(answer.untagged) if b"STATUS other" in line)
    assert at < len(answer.untagged) - 1


class _Faulty(RemoteMailbox):
    """A store that is away whenever `away` is set."""

    async def status(self) -> MailboxStatus:
        if AWAY.is_set():
            raise Unavailable
        return await super().status()


AWAY = asyncio.Event()


class _FaultyAccount(RemoteAccount):
    async def open(self, name: str) -> RemoteMailbox:
        return _Faulty(await self.local.open(name))


class _FaultyBackend(RemoteBackend):
    @asynccontextmanager
    async def account(self, user: str) -> AsyncIterator[RemoteAccount]:
        yield _FaultyAccount(self.local.account_of(user))


async def test_what_the_store_could_not_say_is_told_later(connect: Connect) -> None:
    local = DictBackend({"demouser": "demopass"})
    async with serve(_FaultyBackend(local)) as server:
        writer = await (await connect(server)).login()
        await writer.ok(b"CREATE other")
        listener = await listening(server, connect)
        AWAY.set()
        try:
            await writer.append(MESSAGE, b"other")
            await listener.ok(b"NOOP")
        finally:
            AWAY.clear()
        assert b"STATUS other (MESSAGES 1 " in await listener.line()
        for client in (listener, writer):
            await client.close()


async def test_a_mailbox_that_is_deleted_under_the_client_ends_the_session(
    imap_server, connect: Connect
) -> None:
    server = await imap_server()
    writer = await (await connect(server)).login()
    await writer.ok(b"CREATE other")
    listener = await listening(server, connect)
    await listener.ok(b"SELECT other")
    await writer.ok(b"DELETE other")
    assert any(line.startswith(b"* BYE ") for line in await listener.rest())


async def test_idle_sessions_are_cheap(spawn: Spawn, connect: Connect) -> None:
    """250 of them: what each costs in memory, and no CPU time while nothing happens."""
    process = await spawn("--limit", "connections_per_user=1001")
    writer = await (await connect(process)).login()
    for n in range(4):
        await writer.ok(b"CREATE box%d" % n)
    before = process.memory
    clients = [await (await connect(process)).login(b"INBOX") for _ in range(250)]
    plain = process.memory
    for client in clients:
        await client.ok(ALL + PERSONAL)
    told = process.memory
    print(
        f"a session: {(plain - before) / 250 / 1024:.1f} KiB; "
        f"NOTIFY of 5 mailboxes: {(told - plain) / 250 / 1024:.1f} KiB more"
    )
    assert told - plain < 250 * 32 * 1024
    began = time.perf_counter()
    await writer.append(MESSAGE, b"box0")
    for client in clients:
        assert b"STATUS box0 " in await client.line()
    print(f"250 told of an APPEND elsewhere: {1000 * (time.perf_counter() - began):.0f} ms")
    cpu = process.cpu_s
    await asyncio.sleep(0.5)  # the thing measured, no synchronisation
    assert process.cpu_s - cpu <= 0.03


async def test_news_over_a_compressed_connection(imap_server, connect: Connect) -> None:
    """RFC 4978: pushed too, it is compressed, and leaves at once."""
    server = await imap_server()
    writer = await (await connect(server)).login()
    client = await (await connect(server)).login(b"INBOX")
    await client.ok(b"COMPRESS DEFLATE")
    out, into = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
    client.send(out.compress(b"n " + ALL + b"\r\n") + out.flush(zlib.Z_SYNC_FLUSH))

    async def until(end: bytes) -> None:
        seen = b""
        while end not in seen:
            async with asyncio.timeout(10):
                seen += into.decompress(await client.reader.read(1000))

    await until(b"n OK")
    await writer.append(MESSAGE)
    await until(b"* 1 EXISTS\r\n")


async def test_a_change_of_one_name_is_no_look_at_all_others(
    imap_server, connect: Connect, monkeypatch
) -> None:
    server = await imap_server()
    account = server.backend.account_of("demouser")
    for n in range(500):
        await account.create(f"box{n}")
    clients = [await listening(server, connect) for _ in range(5)]
    writer = await (await connect(server)).login()
    looks = 0
    real = Interests.of

    def counted(self: Interests, name: str, subscribed: bool) -> frozenset[Event]:
        nonlocal looks
        looks += 1
        return real(self, name, subscribed)

    monkeypatch.setattr(Interests, "of", counted)
    await writer.ok(b"CREATE new")
    await writer.append(MESSAGE, b"new")
    await writer.ok(b"RENAME new newer")
    for client in clients:
        while b"STATUS new" not in await client.line():
            pass
        await client.ok(b"NOOP")
    assert looks <= 5 * 10


async def test_annotations_are_not_heaped_up_for_who_cannot_be_told(
    imap_server, connect: Connect
) -> None:
    server = await imap_server()
    writer = await (await connect(server)).login()
    await writer.ok(b"CREATE mine")
    listener = await (await connect(server)).login()
    await listener.ok(b"NOTIFY SET (PERSONAL (MailboxMetadataChange))")
    stranger = await connect(server)
    server.backend.users.add(User("other", "pass"))
    await stranger.ok(b"LOGIN other pass")
    await stranger.ok(b"NOTIFY SET (PERSONAL (MailboxMetadataChange))")
    watching = [client for client in server.clients if client.session.notified is not None]
    first, second = sorted(watching, key=lambda client: client.id)
    ours, theirs = first.session.notified, second.session.notified
    assert ours is not None
    assert theirs is not None
    listener.send(b"n NO")
    assert await becomes(lambda: not first.connection.framer.between)
    for n in range(300):
        entries = b" ".join(b"/shared/e%d-%d NIL" % (n, m) for m in range(10))
        await writer.ok(b"SETMETADATA mine (", entries, b")")
    assert len(ours._notes) <= 1100
    assert not theirs._notes
    listener.send(b"OP\r\n")
    answer = await listener.until(b"n")
    # RFC 5465 5.8
    assert any(line.startswith(b"* OK [NOTIFICATIONOVERFLOW] ") for line in answer.untagged)
    await writer.ok(b'SETMETADATA mine (/shared/comment "x")')
    assert await listener.ok(b"NOOP") == []
