"""Ping, Reload, Who, Kick; health and reflection."""

from __future__ import annotations

import os
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_grpc import ServerReflectionStub
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest

import pymap
from pymap.admin.proto import admin_pb2 as m
from pymap.backend.dict import DictBackend
from pymap.backend.errors import Unavailable

from .calls import fails
from .conftest import Admin, Connect, StartAdmin


async def test_ping_tells_of_the_server(admin: Admin) -> None:
    answer = await admin.server.Ping(m.PingRequest())
    host, port = admin.imap.addresses[0]
    assert (answer.version, answer.pid) == (pymap.__version__, os.getpid())
    assert list(answer.addresses) == [f"{host}:{port}"]
    assert (answer.ready, answer.trouble, answer.connections) == (True, "", 0)
    assert answer.started == int(admin.imap.started)
    assert answer.backend in ("dict", "maildir", "redis")


async def test_ping_and_health_say_what_is_wrong(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    health = HealthStub(admin.channel)

    class Away(DictBackend):
        async def ping(self) -> None:
            raise Unavailable("The store is away")

    admin.imap.backend = Away()
    answer = await admin.server.Ping(m.PingRequest())
    assert (answer.ready, answer.trouble) == (False, "The store is away")
    status = await health.Check(HealthCheckRequest(service="pymap.admin.v1.Users"))
    assert status.status == HealthCheckResponse.NOT_SERVING


async def test_health_of_each_service_and_of_none(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    health = HealthStub(admin.channel)
    for service in ("", "pymap.admin.v1.Server", "pymap.admin.v1.Mailboxes"):
        answer = await health.Check(HealthCheckRequest(service=service))
        assert answer.status == HealthCheckResponse.SERVING, service
    assert (await fails(health.Check, HealthCheckRequest(service="x"))).status is Status.NOT_FOUND


async def test_who_watches_health_does_not_hold_up_the_end(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    async with HealthStub(admin.channel).Watch.open() as stream:
        await stream.send_message(HealthCheckRequest(), end=True)
        answer = await stream.recv_message()
        assert answer is not None
        await stream.cancel()


async def test_reflection_names_the_services(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    reflection = ServerReflectionStub(admin.channel)
    (answer,) = await reflection.ServerReflectionInfo([ServerReflectionRequest(list_services="")])
    names = {service.name for service in answer.list_services_response.service}
    assert names >= {f"pymap.admin.v1.{name}" for name in ("Server", "Users", "Mailboxes")}
    (answer,) = await reflection.ServerReflectionInfo(
        [ServerReflectionRequest(file_containing_symbol="pymap.admin.v1.Server")]
    )
    assert answer.file_descriptor_response.file_descriptor_proto


async def test_reload_tells_what_was_read(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    read = []

    async def reader() -> None:
        read.append(1)

    admin.imap.reloaders["the users"] = reader
    assert list((await admin.server.Reload(m.ReloadRequest())).reloaded) == ["the users"]
    assert read

    async def broken() -> None:
        raise OSError("no such file")

    admin.imap.reloaders["a key"] = broken
    failed = await fails(admin.server.Reload, m.ReloadRequest())
    assert failed.status is Status.FAILED_PRECONDITION
    assert "no such file" in failed.text


async def test_who_shows_sessions(start_admin: StartAdmin, connect: Connect) -> None:
    admin = await start_admin("demo")
    await connect(admin)
    client = await connect(admin)
    await client.login(b"INBOX")
    await client.idle()
    first, second = (await admin.server.Who(m.WhoRequest())).sessions
    assert (first.user, first.state, first.mailbox) == ("", "not authenticated", "")
    assert (second.user, second.state, second.mailbox) == ("demouser", "selected", "INBOX")
    assert second.command == "IDLE"
    assert second.commands == 2
    assert second.address.startswith("127.0.0.1:")
    assert second.received > 0 < second.sent
    only = (await admin.server.Who(m.WhoRequest(user="demouser"))).sessions
    assert [session.id for session in only] == [second.id]
    assert not (await admin.server.Who(m.WhoRequest(user="x"))).sessions
    assert (await admin.server.Ping(m.PingRequest())).connections == 2


@pytest.mark.parametrize(
    "whom", [{"user": "demouser"}, {"address": "127.0.0.1"}, {"address": "127.0.0.1", "id": 1}]
)
async def test_kick_ends_sessions_with_bye(
    start_admin: StartAdmin, connect: Connect, whom: dict[str, Any]
) -> None:
    admin = await start_admin()
    client = await connect(admin)
    await client.login()
    request = m.KickRequest(**whom)  # of a oneof the last one counts
    assert (await admin.server.Kick(request)).kicked == 1
    assert (await client.rest())[-1].startswith(b"* BYE")


async def test_kick_of_nobody(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    for whom in ({"user": "x"}, {"id": 77}, {"address": "::1"}, {"user": ""}, {"id": 0}):
        assert (await admin.server.Kick(m.KickRequest(**whom))).kicked == 0
    for request in (m.KickRequest(), m.KickRequest(address="x"), m.KickRequest(address="")):
        assert (await fails(admin.server.Kick, request)).status is Status.INVALID_ARGUMENT
