"""What the server tells of its sessions: to administrators, observers and the log."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl

import pytest

from pymap.backend.dict import DictBackend
from pymap.imap.server import ReloadFailed, serve
from pymap.limits import Limits
from pymap.observer import Observer

from .client import Client, becomes
from .conftest import Connect, alone


class Notebook(Observer):
    def __init__(self) -> None:
        self.notes: list[tuple[object, ...]] = []

    def connected(self, tls: bool) -> None:
        self.notes.append(("connected", tls))

    def disconnected(self, seconds: float, received: int, sent: int) -> None:
        assert seconds >= 0
        self.notes.append(("disconnected", received, sent))

    def refused(self, reason: str) -> None:
        self.notes.append(("refused", reason))

    def handshake(self, ok: bool) -> None:
        self.notes.append(("handshake", ok))

    def authenticated(self, mechanism: str, result: str) -> None:
        self.notes.append(("authenticated", mechanism, result))

    def commanded(self, name: str, result: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.notes.append(("commanded", name, result))

    def appended(self, messages: int, octets: int, source: str) -> None:
        self.notes.append(("appended", messages, octets, source))

    def backend_failed(self, code: str) -> None:
        self.notes.append(("backend_failed", code))


async def test_sessions(imap_server, connect: Connect) -> None:
    server = await imap_server("demo")
    stranger = await connect(server)
    client = await (await connect(server)).login(b"INBOX")
    await client.idle()
    sessions = sorted(server.sessions())
    assert [s.id for s in sessions] == [1, 2]
    assert (sessions[0].user, sessions[0].state) == ("", "not authenticated")
    idle = sessions[1]
    assert (idle.user, idle.state, idle.mailbox, idle.command) == (
        "demouser", "selected", "INBOX", "IDLE",
    )  # fmt: skip
    assert idle.authenticated_as == ""  # as itself
    assert idle.commands == 2
    assert idle.received == len(b"t1 LOGIN demouser demopass\r\nt2 SELECT INBOX\r\nidle IDLE\r\n")
    assert idle.sent > 500
    assert idle.address == "{}:{}".format(*client.writer.get_extra_info("sockname"))
    await stranger.close()
    client.send(b"DONE\r\n")
    await client.until(b"idle")
    assert await becomes(lambda: len(server.sessions()) == 1)
    assert server.sessions()[0].command == ""


async def test_kick(imap_server, connect: Connect) -> None:
    server = await imap_server("demo")
    first = await (await connect(server)).login(b"INBOX")
    await first.idle()
    second = await (await connect(server)).login()
    stranger = await connect(server)
    assert server.kick(user="nobody") == 0
    assert server.kick(id=1) == 1
    assert (await first.rest()) == [b"* BYE Disconnected by the administrator\r\n"]
    await second.ok(b"NOOP")
    assert server.kick(user="demouser") == 1
    assert (await second.rest()) == [b"* BYE Disconnected by the administrator\r\n"]
    await stranger.ok(b"NOOP")
    assert server.kick(address="127.0.0.1") == 1
    assert (await stranger.rest()) == [b"* BYE Disconnected by the administrator\r\n"]
    await alone(server)


async def test_kick_in_the_middle_of_an_answer(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await (await connect(server, limit=4096)).login()
    await client.append(b"x: y\r\n\r\n" + b"0123456789abcde\n" * 500_000)
    await client.ok(b"SELECT INBOX")
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert (await client.line()).startswith(b"* 1 FETCH")
    assert server.kick(user="demouser") == 1
    await alone(server)


async def test_too_many_sessions_of_a_user(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(connections_per_user=2))
    first = await (await connect(server)).login()
    await (await connect(server)).login()
    third = await connect(server)
    for command in (b"LOGIN demouser demopass", b"AUTHENTICATE PLAIN AGRlbW91c2VyAGRlbW9wYXNz"):
        assert b"NO [LIMIT] " in (await third.command(command)).tagged
    assert len(server.sessions()) == 3
    assert server.strangers == 1
    await first.ok(b"LOGOUT")
    assert await becomes(lambda: len(server.clients) == 2)
    await third.login()


async def test_observers_are_told(imap_server, connect: Connect) -> None:
    server = await imap_server()
    server.observers.append(notebook := Notebook())
    client = await connect(server)
    await client.command(b"LOGIN demouser wrong")
    await client.login()
    await client.append(b"x: y\r\n\r\nz\r\n")
    await client.ok(b"SELECT INBOX")
    assert (await client.command(b"UID FETCH 1 FLAGS")).condition == b"OK"
    assert (await client.command(b"NONSENSE")).condition == b"BAD"
    assert (await client.command(b"SELECT nowhere")).condition == b"NO"
    await client.idle()
    client.send(b"DONE\r\n")
    await client.until(b"idle")
    client.send(b"a LOGOUT\r\n")
    await client.rest()
    await alone(server)
    disconnected = notebook.notes.pop()
    assert disconnected[0] == "disconnected"
    assert notebook.notes == [
        ("connected", False),
        ("authenticated", "LOGIN", "failed"),
        ("commanded", "LOGIN", "no"),
        ("authenticated", "LOGIN", "ok"),
        ("commanded", "LOGIN", "ok"),
        ("appended", 1, 11, "append"),
        ("commanded", "APPEND", "ok"),
        ("commanded", "SELECT", "ok"),
        ("commanded", "FETCH", "ok"),
        ("commanded", "?", "bad"),
        ("commanded", "SELECT", "no"),
        ("commanded", "IDLE", "ok"),
        ("commanded", "LOGOUT", "ok"),
    ]


async def test_observers_are_told_of_handshakes(
    imap_server, connect: Connect, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server = await imap_server(ssl_context=server_tls, tls_port=0)
    server.observers.append(notebook := Notebook())
    client = await connect(server.addresses[1], ssl=client_tls)
    await client.close()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await connect(server.addresses[1], ssl=ssl.create_default_context())
    await alone(server)
    assert notebook.notes.count(("connected", True)) == 2
    assert notebook.notes.count(("handshake", True)) == 1
    assert notebook.notes.count(("handshake", False)) == 1


async def test_one_record_for_each_session(imap_server, connect: Connect, caplog) -> None:
    caplog.set_level(logging.INFO, "pymap")
    server = await imap_server()
    client = await (await connect(server)).login()
    client.send(b"a LOGOUT\r\n")
    await client.rest()
    await alone(server)
    (record,) = [r for r in caplog.records if r.getMessage().startswith("session ended")]
    assert record.fields["user"] == "demouser"
    assert record.fields["address"] == "127.0.0.1"
    assert record.fields["commands"] == 2
    assert record.fields["received"] == len(b"t1 LOGIN demouser demopass\r\na LOGOUT\r\n")
    assert " user='demouser' tls=- " in record.getMessage()


async def test_one_record_for_each_command_at_debug(imap_server, connect, caplog) -> None:
    caplog.set_level(logging.DEBUG, "pymap")
    server = await imap_server()
    client = await (await connect(server)).login()
    await client.command(b"SELECT nowhere")
    await client.ok(b"NOOP")
    fields = [r.fields for r in caplog.records if "command" in getattr(r, "fields", {})]
    assert fields.pop()["command"] == "NOOP"
    assert [(f["command"], f["result"]) for f in fields] == [("LOGIN", "ok"), ("SELECT", "no")]
    assert "demopass" not in caplog.text


async def test_reload_tries_everything(imap_server) -> None:
    server = await imap_server()
    tried = []

    async def good() -> None:
        tried.append("good")

    async def bad() -> None:
        raise ValueError("is not what it was")

    server.reloaders = {"the first": bad, "the second": good}
    with pytest.raises(ReloadFailed, match="the first: is not what it was"):
        await server.reload()
    assert tried == ["good"]
    server.reloaders = {"the second": good}
    assert await server.reload() == ["the second"]


async def test_trouble(imap_server) -> None:
    server = await imap_server()
    assert await server.trouble() == ""
    closing = asyncio.ensure_future(server.close())
    await closing
    assert await server.trouble() == "shutting down"


async def test_an_ipv4_client_of_a_dual_stack_socket_has_its_own_address() -> None:
    """As a socket that systemd binds is."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    async with serve(DictBackend({"demouser": "demopass"})) as server:
        listening = socket.create_server(
            ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
        )  # fmt: skip
        await server.listen_on(listening)
        await server.open()
        client = await Client.connect(("127.0.0.1", listening.getsockname()[1]))
        await client.login()
        (session,) = server.sessions()
        assert session.address.startswith("127.0.0.1:")
        assert server.kick(address="::ffff:127.0.0.1") == 1
        await client.rest()


async def test_the_end_does_not_wait_for_a_client_that_is_out_of_reach(
    imap_server, connect: Connect, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server = await imap_server(ssl_context=server_tls, tls_port=0)
    client = await (await connect(server.addresses[1], ssl=client_tls)).login(b"INBOX")
    client.writer.transport.pause_reading()  # it does not answer the end of TLS either
    loop = asyncio.get_running_loop()
    began = loop.time()
    await server.close(drain_s=30)
    assert loop.time() - began < 10


async def test_unauthenticate_makes_a_stranger_again(imap_server, connect: Connect) -> None:
    """Its session no longer counts for the user, and the time for logging in runs anew."""
    server = await imap_server(limits=Limits(connections_per_user=1, login_timeout_s=0.2))
    client = await (await connect(server)).login(b"INBOX")
    assert server.strangers == 0
    await client.ok(b"UNAUTHENTICATE")
    (session,) = server.sessions()
    assert (session.user, session.state, session.mailbox) == ("", "not authenticated", "")
    assert server.strangers == 1
    await (await connect(server)).login()
    assert b"NO [LIMIT]" in (await client.command(b"LOGIN demouser demopass")).tagged
    assert (await client.rest()) == [b"* BYE Login took too long\r\n"]


async def test_news_behind_bye_is_no_error(imap_server, connect: Connect, caplog) -> None:
    """A client that was kicked out of IDLE lingers for a moment, and mail may come in it."""
    server = await imap_server()
    idle = await (await connect(server)).login(b"INBOX")
    await idle.idle()
    writer = await (await connect(server)).login()
    assert server.kick(id=1) == 1
    assert (await writer.append(b"Subject: x\r\n\r\n")).condition == b"OK"
    await writer.ok(b"NOOP")
    assert await idle.rest() == [b"* BYE Disconnected by the administrator\r\n"]
    assert await becomes(lambda: len(server.clients) == 1)
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_pipeline_ends_with_the_server(connect: Connect) -> None:
    """Between two slices of it nothing runs: it is over there, with BYE."""
    async with serve(DictBackend({"demouser": "demopass"})) as server:
        client = await (await connect(server)).login(b"INBOX")
        loop = asyncio.get_running_loop()
        client.send(b"".join(b"n%d NOOP\r\n" % n for n in range(50_000)))
        await client.until(b"n0")
        began = loop.time()
        await server.close(drain_s=20)
        assert loop.time() - began < 5
        rest = await client.rest()
        assert len(rest) < 49_999
        assert rest[-1].startswith(b"* BYE")


async def test_the_last_command_is_told_as_it_was(imap_server, connect: Connect) -> None:
    server = await imap_server(limits=Limits(failed_logins=1, bad_commands=2))
    server.observers.append(notebook := Notebook())
    client = await connect(server)
    client.send(b"a LOGIN demouser wrong\r\n")
    await client.rest()
    client = await connect(server)
    client.send(b"a NONSENSE\r\nb SELECT x\r\n")
    await client.rest()
    assert [note for note in notebook.notes if note[0] == "commanded"] == [
        ("commanded", "LOGIN", "no"), ("commanded", "?", "bad"), ("commanded", "?", "bad"),
    ]  # fmt: skip


async def test_a_reloader_with_a_bug_stops_nothing(imap_server, caplog) -> None:
    server = await imap_server()
    tried = []

    async def bug() -> None:
        raise KeyError("x")

    async def good() -> None:
        tried.append("good")

    server.reloaders = {"one": bug, "two": good}
    with pytest.raises(ReloadFailed, match="one: internal error"):
        await server.reload()
    assert tried == ["good"]
