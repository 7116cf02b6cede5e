"""Who may use it: on the socket by user, over TCP by token. And how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import pytest
import trustme
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest
from server.client import becomes

from pymap.admin import calls, listener, service, serving
from pymap.admin.access import TokenAccess
from pymap.admin.network import Network
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.proto.admin_grpc import MailboxesStub, ServerStub, UsersStub
from pymap.admin.service import AdminService
from pymap.backend.dict import DictBackend, DictMailbox
from pymap.imap.server import serve

from .calls import append_requests, fails
from .conftest import Admin, StartAdmin

NOBODY = 65534
TOKEN = "a-token-of-some-length"


class OverSocket(Channel):
    """A channel on a socket that is connected already."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock

    async def _create_connection(self) -> Any:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(self._protocol_factory, sock=self._sock)
        return protocol


async def test_the_socket_is_private_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serve(DictBackend()) as server:
        async with AdminService(path).run(server):
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert not path.exists()
        with pytest.raises(ZeroDivisionError):
            async with AdminService(path).run(server):
                raise ZeroDivisionError  # something that starts later fails
        assert os.listdir(tmp_path) == []


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory where everybody gets to; that of `tmp_path` is private."""
    directory = Path(mkdtemp())
    directory.chmod(0o755)
    yield directory
    directory.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes root")
@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="Linux only")
async def test_another_user_is_refused_whatever_the_mode(public: Path) -> None:
    path = public / "s"
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(DictBackend({"demouser": "demopass"})))
        await stack.enter_async_context(AdminService(path).run(server))
        with socket.socket(socket.AF_UNIX) as sock:
            os.seteuid(NOBODY)
            try:
                with pytest.raises(PermissionError):
                    sock.connect(str(path))
            finally:
                os.seteuid(0)
        path.chmod(0o666)
        sock = socket.socket(socket.AF_UNIX)
        os.seteuid(NOBODY)
        try:
            sock.connect(str(path))
        finally:
            os.seteuid(0)
        sock.setblocking(False)
        channel = OverSocket(sock)
        stack.callback(channel.close)
        for method, request in (
            (ServerStub(channel).Ping, m.PingRequest()),
            (UsersStub(channel).Get, m.UserGetRequest(name="demouser")),
            (MailboxesStub(channel).Append, append_requests(b"x")[0]),
            (HealthStub(channel).Check, HealthCheckRequest()),
        ):
            failed = await fails(method, request)
            assert failed[:2] == (Status.PERMISSION_DENIED, "NOPERM")


# -- over TCP --


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


StartNetwork = Callable[..., Awaitable[Channel]]


@pytest.fixture
async def network(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[StartNetwork]:
    """The service over TCP, and a channel to it; the token is in the file `token`, the certificate
    in the file `cert`."""
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "cert")
    )
    (tmp_path / "token").write_text(TOKEN + "\n")
    async with AsyncExitStack() as stack:

        async def start() -> Channel:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            place = Network("127.0.0.1", port, tmp_path / "cert", None, tmp_path / "token")
            backend = DictBackend({"demouser": "demopass"})
            server = await stack.enter_async_context(serve(backend))
            service = await stack.enter_async_context(AsyncExitStack())
            await service.enter_async_context(AdminService(tmp_path / "s", place).run(server))
            start.reload, start.stop = server.reload, service.aclose  # type: ignore[attr-defined]
            context = ssl.create_default_context()
            authority.configure_trust(context)
            context.set_alpn_protocols(["h2"])
            channel = Channel("localhost", port, ssl=context)
            stack.callback(channel.close)
            return channel

        yield start


async def test_the_right_token(network: StartNetwork) -> None:
    channel = await network()
    answer = await ServerStub(channel).Ping(
        m.PingRequest(), metadata={"authorization": f"Bearer {TOKEN}"}
    )
    assert answer.ready


async def test_no_token_or_a_wrong_one(network: StartNetwork) -> None:
    channel = await network()
    server = ServerStub(channel)
    wrong = (
        None,
        {"authorization": "-"},
        {"authorization": "Bearer"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"x-authorization": f"Bearer {TOKEN}"},
    )
    for metadata in wrong:
        failed = await fails(server.Ping, m.PingRequest(), metadata=metadata)
        assert failed.status is Status.UNAUTHENTICATED, metadata
    assert (await fails(HealthStub(channel).Check, HealthCheckRequest())).status is (
        Status.UNAUTHENTICATED
    )


async def test_a_token_that_is_changed(network: StartNetwork, tmp_path: Path) -> None:
    server = ServerStub(await network())
    old, new = ({"authorization": f"bearer {token}"} for token in (TOKEN, "n" * 40))
    (tmp_path / "token").write_text("n" * 40)
    await server.Ping(m.PingRequest(), metadata=new)
    assert (
        await fails(server.Ping, m.PingRequest(), metadata=old)
    ).status is Status.UNAUTHENTICATED
    (tmp_path / "token").unlink()
    assert (
        await fails(server.Ping, m.PingRequest(), metadata=new)
    ).status is Status.UNAUTHENTICATED
    (tmp_path / "token").write_text("n" * 40)
    await server.Ping(m.PingRequest(), metadata=new)


@pytest.mark.parametrize(
    "content", ["", "\n", "short", "two words of the length", "é" * 20, "x" * 5000]
)
def test_what_is_no_token(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(ValueError, match="a token is one word"):
        TokenAccess(tmp_path / "token")


async def test_a_certificate_that_is_changed(
    network: StartNetwork, tmp_path: Path, authority: trustme.CA
) -> None:
    channel = await network()
    metadata = {"authorization": f"Bearer {TOKEN}"}
    await ServerStub(channel).Ping(m.PingRequest(), metadata=metadata)

    async def served() -> bytes | None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        port = channel._port
        _, writer = await asyncio.open_connection("localhost", port, ssl=context)
        try:
            return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)  # type: ignore[no-any-return]
        finally:
            writer.transport.abort()

    before = await served()
    cert = tmp_path / "cert"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(cert))
    await network.reload()  # type: ignore[attr-defined]
    after = await served()
    assert after != before
    cert.write_text("nothing")
    with pytest.raises(Exception, match="certificate"):
        await network.reload()  # type: ignore[attr-defined]
    assert await served() == after
    await ServerStub(channel).Ping(m.PingRequest(), metadata=metadata)


async def test_strangers_are_closed(network: StartNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "STRANGER_S", 0.05)
    channel = await network()
    server = ServerStub(channel)
    await fails(server.Ping, m.PingRequest())
    connection = channel._protocol
    assert connection is not None
    assert await becomes(connection.connection.is_closing)
    await server.Ping(m.PingRequest(), metadata={"authorization": f"Bearer {TOKEN}"})
    known = channel._protocol
    assert known is not None
    assert not await becomes(known.connection.is_closing, within_s=0.2)


async def test_connections_are_counted(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CONNECTIONS", 2)
    admin = await start_admin()
    await admin.server.Ping(m.PingRequest())
    _, one = await asyncio.open_unix_connection(str(admin.path))
    reader, two = await asyncio.open_unix_connection(str(admin.path))
    async with asyncio.timeout(5):
        await reader.read()  # to the end
    for writer in (one, two):
        writer.close()
        await writer.wait_closed()
    await admin.server.Ping(m.PingRequest())


# -- the end --


class Ending:
    """The service apart from its server, so that a test can end it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Admin:
        server = await self.stack.enter_async_context(serve(DictBackend({"demouser": "x"})))
        self.stop = AsyncExitStack()
        await self.stop.enter_async_context(AdminService(self.path).run(server))
        channel = Channel(path=str(self.path))
        self.stack.callback(channel.close)
        stubs = (kind(channel) for kind in (ServerStub, UsersStub, MailboxesStub))
        return Admin(server, self.path, channel, *stubs)

    async def __aexit__(self, *exc: object) -> None:
        await self.stop.aclose()
        await self.stack.aclose()


async def test_streams_end_with_the_server(tmp_path: Path) -> None:
    ending = Ending(tmp_path / "s")

    async def watch(admin: Admin) -> None:
        async with HealthStub(admin.channel).Watch.open() as stream:
            await stream.send_message(HealthCheckRequest(), end=True)
            assert await stream.recv_message() is not None
            await ending.stop.aclose()
            await stream.recv_message()

    async with ending as admin:
        async with asyncio.timeout(serving.DRAIN_S):
            with pytest.raises(GRPCError) as caught:
                await watch(admin)
        assert caught.value.status is Status.UNAVAILABLE
        with pytest.raises((OSError, StreamTerminatedError)):
            await admin.server.Ping(m.PingRequest())


async def test_a_message_that_is_being_appended_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = DictMailbox.append
    began, proceed = asyncio.Event(), asyncio.Event()

    async def slow(self: DictMailbox, messages: Any) -> Any:
        began.set()
        await proceed.wait()
        return await truth(self, messages)

    monkeypatch.setattr(DictMailbox, "append", slow)
    ending = Ending(tmp_path / "s")
    async with ending as admin:
        appending = asyncio.ensure_future(admin.mailboxes.Append(append_requests(b"x")))
        await began.wait()
        stopping = asyncio.ensure_future(ending.stop.aclose())
        failed = await fails(admin.server.Ping, m.PingRequest())
        assert failed[:2] == (Status.UNAVAILABLE, "UNAVAILABLE")
        proceed.set()
        assert (await appending).uid == 1
        await stopping


async def test_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DRAIN_S", 0.05)
    began = asyncio.Event()

    async def never(self: DictMailbox, messages: Any) -> Any:
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(DictMailbox, "append", never)
    ending = Ending(tmp_path / "s")
    async with ending as admin:
        appending = asyncio.ensure_future(fails(admin.mailboxes.Append, *append_requests(b"x")))
        await began.wait()
        async with asyncio.timeout(5):
            await ending.stop.aclose()
            assert (await appending)[:2] == (Status.UNAVAILABLE, "UNAVAILABLE")


async def test_a_client_that_reads_nothing_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CLOSE_S", 0.1)
    monkeypatch.setattr(calls, "ANSWER_S", 0.1)
    truth = DictMailbox.contents
    read = asyncio.Event()

    async def contents(self: DictMailbox, uids: Any) -> Any:
        read.set()
        return await truth(self, uids)

    monkeypatch.setattr(DictMailbox, "contents", contents)
    ending = Ending(tmp_path / "s")

    async def look_away(admin: Admin) -> None:
        async with admin.mailboxes.Export.open() as stream:
            await stream.send_message(m.ExportRequest(user="demouser"), end=True)
            transport = cast(Any, admin.channel._protocol).connection._transport
            transport.pause_reading()
            await read.wait()
            await ending.stop.aclose()
            transport.resume_reading()
            while await stream.recv_message() is not None:
                pass

    async with ending as admin:
        await admin.mailboxes.Append(append_requests(*[b"x" * 1_000_000] * 20))
        async with asyncio.timeout(10):
            with pytest.raises((GRPCError, StreamTerminatedError)):
                await look_away(admin)


async def test_a_handshake_that_does_not_end_does_not_hold_up_the_end(
    network: StartNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CLOSE_S", 0.1)
    channel = await network()
    await fails(ServerStub(channel).Ping, m.PingRequest())
    _, writer = await asyncio.open_connection("127.0.0.1", channel._port)
    async with asyncio.timeout(10):
        await network.stop()  # type: ignore[attr-defined]
    writer.close()
    await writer.wait_closed()


async def test_a_port_that_is_taken(tmp_path: Path, network: StartNetwork) -> None:
    port = (await network())._port
    other = Network("127.0.0.1", port or 0, tmp_path / "cert", None, tmp_path / "token")
    async with serve(DictBackend()) as server:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}: Address"):
            async with AdminService(tmp_path / "other", other).run(server):
                pass
    assert not (tmp_path / "other").exists()


async def test_a_deadline_ends_the_work(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def never(self: DictMailbox, messages: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(DictMailbox, "append", never)
    admin = await start_admin()
    with pytest.raises((GRPCError, TimeoutError)):
        await admin.mailboxes.Append(append_requests(b"x"), timeout=0.1)
    async with asyncio.timeout(5):
        await ended.wait()


# -- options --


def options(*argv: str) -> AdminService:
    parser = ArgumentParser()
    AdminService.add_arguments(parser)
    return AdminService.from_args(parser.parse_args(argv))


def test_options(tmp_path: Path, authority: trustme.CA) -> None:
    assert options().path is None
    assert options("--admin-socket", "/x/s").path == Path("/x/s")
    cert, token = tmp_path / "cert", tmp_path / "token"
    tcp = ("--admin-listen", "[::1]:5000", "--admin-cert", str(cert), "--admin-token-file")
    with pytest.raises(OSError, match="token"):
        options(*tcp, str(token))
    token.write_text(TOKEN)
    with pytest.raises(OSError, match="cert"):
        options(*tcp, str(token))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(cert))
    network = options(*tcp, str(token)).network
    assert network is not None
    assert (network.host, network.port) == ("::1", 5000)


@pytest.mark.parametrize(
    "argv",
    [
        ["--admin-listen", "x:1"],
        ["--admin-listen", "x:1", "--admin-cert", "c"],
        ["--admin-listen", "x:1", "--admin-token-file", "t"],
        ["--admin-cert", "c"],
        ["--admin-token-file", "t"],
    ],
)
def test_options_that_do_not_fit(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="--admin-listen"):
        options(*argv)


@pytest.mark.parametrize("place", ["x", "x:", ":1", "x:y", "x:70000"])
def test_what_is_no_place(place: str) -> None:
    with pytest.raises(SystemExit):
        options("--admin-listen", place)


async def test_without_its_library_it_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "_is_installed", lambda: False)
    with pytest.raises(ValueError, match=r"pymap\[admin\]"):
        options("--admin-socket", str(tmp_path / "s"))
    caplog.set_level("INFO", "pymap.admin")
    async with serve(DictBackend()) as server, options().run(server):
        assert "pymap[admin]" in caplog.text
