"""Any message, in any order, and any octets: a status or the end of the connection, and no bug."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from grpclib.client import StreamStreamMethod, StreamUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import StreamClosedError

from pymap.admin.proto import admin_pb2 as m
from pymap.backend.dict import DictUsers
from pymap.limits import Limits

from .calls import append_requests, fails
from .conftest import STORES, Admin, StartAdmin

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
BUGS = (Status.INTERNAL, Status.UNKNOWN)


@pytest.fixture(autouse=True)
def no_bugs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    found = [r for r in caplog.get_records("call") if r.exc_info or r.levelname == "ERROR"]
    assert not found, found


# -- messages --

TEXTS = (
    "", "demouser", "INBOX", "Sent", "inbox/", "a/b", "//", "\\Seen", "\\Recent", "\0", "\r\n",
    "x" * 3000, "é", "e\u0301", "\u2028", "..", "../..", "{PLAIN}x", "{SSHA}", "SSHA256", "MASTER",
    "master", "127.0.0.1", "::1", "24-Nov-2026 14:00:00 +0000", "24-Nov-2026", "*", "%", "~",
    "\U0001f4e7", "-1", "NIL", '"', "{3}",
)  # fmt: skip
OCTETS = (b"", b"x", b"\n", b"From x\n\n", b"\0\xff", b"A: b\r\n\r\nc", b"x" * 70_000)


def anything(kind: Any, chance: random.Random) -> Any:
    """A message of that type with any of its fields."""
    made = kind()
    for field in kind.DESCRIPTOR.fields:
        if chance.random() < 0.3:
            continue
        value = getattr(made, field.name)
        if field.message_type is not None:
            value.CopyFrom(anything(type(value), chance))
        elif isinstance(value, (str, bytes, bool, int)):
            setattr(made, field.name, _scalar(field, chance))
        else:
            value.extend(_scalar(field, chance) for _ in range(chance.choice((0, 1, 3, 300))))
    return made


def _scalar(field: Any, chance: random.Random) -> Any:
    if field.type == field.TYPE_STRING:
        return chance.choice(TEXTS)
    if field.type == field.TYPE_BYTES:
        return chance.choice(OCTETS)
    if field.type == field.TYPE_BOOL:
        return chance.random() < 0.5
    return chance.choice((0, 1, 2, 5, 70_000, 0xFFFFFFFF))


def methods(admin: Admin) -> list[Any]:
    return [
        method
        for stub in (admin.server, admin.users, admin.mailboxes)
        for method in vars(stub).values()
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("store", STORES)
async def test_any_messages_in_any_order(start_admin: StartAdmin, store: str, seed: int) -> None:
    chance = random.Random(f"{store}{seed}")
    admin = await start_admin("demo", store, limits=Limits(append=100_000))
    bugs = []
    for _ in range(150):
        method = chance.choice(methods(admin))
        requests = any_requests(method, chance)
        try:
            async with asyncio.timeout(20):
                await _call(method, requests)
        except GRPCError as error:
            if error.status in BUGS:
                bugs.append((method.name, error, requests))
        except (StreamTerminatedError, StreamClosedError):
            pass  # the server did not read to the end
    assert not bugs
    assert (await admin.server.Ping(m.PingRequest())).ready
    await admin.mailboxes.Append(append_requests(b"A: b\r\n\r\n"))
    for name in TEXTS:  # users of all tests are in one Redis
        if name not in ("", "demouser"):
            await admin.imap.backend.users.delete(name)


def any_requests(method: Any, chance: random.Random) -> list[Any]:
    streams = isinstance(method, (StreamUnaryMethod, StreamStreamMethod))
    number = chance.choice((0, 1, 2, 5, 20)) if streams else 1
    found = [anything(method.request_type, chance) for _ in range(number)]
    for request in found:
        parts = "head" in request.DESCRIPTOR.fields_by_name
        head = request.head if parts and request.HasField("head") else request
        if hasattr(head, "user") and chance.random() < 0.7:
            head.user = "demouser"
        if hasattr(request, "scheme"):
            request.scheme = "SSHA"  # the others are slow
        if isinstance(request, m.UserDeleteRequest):
            request.name = "alice"  # or all is over
    return found


async def _call(method: Any, requests: list[Any]) -> None:
    async with method.open() as stream:
        await stream.send_request()
        for request in requests:
            await stream.send_message(request)
        await stream.end()
        while await stream.recv_message() is not None:
            pass


# -- octets --


class Raw:
    """HTTP/2 by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.send()

    def send(self, *more: bytes) -> None:
        self.writer.writelines((self.h2.data_to_send(), *more))

    async def headers_of(self, stream: int) -> dict[str, str]:
        """The last ones of the server; empty if it has closed, or reset the stream."""
        async with asyncio.timeout(5):
            while data := await self._read():
                for event in self.h2.receive_data(data):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        return {}
                    if getattr(event, "stream_id", None) != stream:
                        continue
                    if isinstance(event, h2.events.StreamReset):
                        return {}
                    if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                        headers = {k.decode(): v.decode() for k, v in event.headers}
                        if "grpc-status" in headers or headers.get(":status") != "200":
                            return headers
                self.send()
        return {}

    async def _read(self) -> bytes:
        try:
            return await self.reader.read(1 << 16)
        except ConnectionResetError:
            return b""


@pytest.fixture
async def raw(start_admin: StartAdmin) -> AsyncIterator[Raw]:
    admin = await start_admin()
    reader, writer = await asyncio.open_unix_connection(str(admin.path))
    yield Raw(reader, writer)
    writer.transport.abort()
    with suppress(ConnectionResetError):
        await writer.wait_closed()
    assert (await admin.server.Ping(m.PingRequest())).ready


HEADERS = {
    ":method": "POST", ":scheme": "http", ":path": "/pymap.admin.v1.Users/Get", ":authority": "x",
    "te": "trailers", "content-type": "application/grpc",
}  # fmt: skip
REQUEST = m.UserGetRequest(name="demouser").SerializeToString()


def framed(message: bytes, size: int | None = None, compressed: int = 0) -> bytes:
    return struct.pack(">BI", compressed, len(message) if size is None else size) + message


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (framed(REQUEST), Status.OK),
        (b"", Status.INVALID_ARGUMENT),
        (b"\0\0", Status.INVALID_ARGUMENT),
        (framed(b"", 5), Status.INVALID_ARGUMENT),
        (framed(b"abc", 5), Status.INVALID_ARGUMENT),
        (framed(b"\xff\xff\xff"), Status.INVALID_ARGUMENT),
        (framed(b"\x0a\x01\xff"), Status.INVALID_ARGUMENT),  # a text that is not UTF-8
        (framed(REQUEST, compressed=1), Status.INVALID_ARGUMENT),
        (framed(REQUEST, compressed=77), Status.INVALID_ARGUMENT),
        (framed(b"x", 0xFFFFFFFF), Status.RESOURCE_EXHAUSTED),
        (framed(b"x", 5 * 1024 * 1024), Status.RESOURCE_EXHAUSTED),
        (framed(REQUEST) * 3, Status.OK),
        (framed(b"\x0b" * 500), Status.INVALID_ARGUMENT),  # groups inside one another
    ],
)
async def test_what_is_no_message(raw: Raw, data: bytes, status: Status) -> None:
    raw.h2.send_headers(1, list(HEADERS.items()))
    raw.h2.send_data(1, data, end_stream=True)
    raw.send()
    assert (await raw.headers_of(1))["grpc-status"] == str(status.value)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({":method": "GET"}, {":status": "405"}),
        ({"content-type": "text/plain"}, {":status": "415"}),
        ({"content-type": "application/grpc+json"}, {":status": "415"}),
        ({"te": "gzip"}, {}),
        ({":path": "/x/y"}, {"grpc-status": "12"}),
        ({":path": "x"}, {"grpc-status": "12"}),
        ({":path": ""}, {}),
        ({":path": None}, {}),
        ({":method": None}, {}),
        ({"grpc-timeout": "soon"}, {"grpc-status": "0"}),
        ({"grpc-timeout": "9" * 5000 + "S"}, {"grpc-status": "0"}),
        ({"grpc-timeout": "99999999H"}, {"grpc-status": "0"}),
        ({"grpc-timeout": "1H"}, {"grpc-status": "0"}),
        ({"grpc-timeout": "0S"}, {"grpc-status": "0"}),  # it was done before anybody could look
        ({"x-bin": "not base64 \u00e9"}, {"grpc-status": "0"}),
        ({"x": "\udcff"}, {}),
        ({"grpc-encoding": "gzip"}, {"grpc-status": "0"}),
        ({"Upper": "x"}, {}),
        ({"connection": "close"}, {}),
    ],
)
async def test_headers(raw: Raw, changed: dict[str, str | None], expected: dict[str, str]) -> None:
    headers = [
        (name, value.encode("utf-8", "surrogateescape"))
        for name, value in {**HEADERS, **changed}.items()
        if value is not None
    ]
    raw.h2.send_headers(1, headers)
    raw.h2.send_data(1, framed(REQUEST), end_stream=True)
    raw.send()
    found = await raw.headers_of(1)
    assert {name: found.get(name) for name in expected} == expected
    if not expected:
        assert found.get("grpc-status", "x") != "0"


@pytest.mark.parametrize("left", ["0S", "1n", "20m"])
async def test_a_deadline_that_passes(raw: Raw, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    async def never(self: DictUsers, name: str) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(DictUsers, "get", never)
    raw.h2.send_headers(1, [*HEADERS.items(), ("grpc-timeout", left)])
    raw.h2.send_data(1, framed(REQUEST), end_stream=True)
    raw.send()
    assert (await raw.headers_of(1))["grpc-status"] == str(Status.DEADLINE_EXCEEDED.value)


@pytest.mark.parametrize(
    "octets",
    [
        b"a LOGIN demouser demopass\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 1000,
        PREFACE + SETTINGS + b"\xff" * 1000,
        PREFACE + SETTINGS + b"\x00\x00\x01\xee\x00\x00\x00\x00\x00x",  # a frame nobody knows
        PREFACE + SETTINGS + b"\x00\x00\x04\x0a\x00\x00\x00\x00\x00\x00\x00xx",  # ALTSVC
        PREFACE
        + SETTINGS
        + b"\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00",  # PRIORITY
        PREFACE + SETTINGS + b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x80",  # HPACK: index 0
        PREFACE + SETTINGS + b"\x00\x00\x00\x01\x05\x00\x00\x00\x01",  # no headers
        PREFACE + SETTINGS + b"\x00\x00\x01\x00\x00\x00\x00\x00\x09x",  # data of no stream
        PREFACE + SETTINGS + b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08",  # RST of none
        PREFACE + SETTINGS + b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\0" * 8,  # GOAWAY
        PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",  # a frame too large
    ],
)
async def test_octets_of_another_protocol(start_admin: StartAdmin, octets: bytes) -> None:
    admin = await start_admin()
    _, writer = await asyncio.open_unix_connection(str(admin.path))
    writer.write(octets)
    await writer.drain()
    assert (await admin.server.Ping(m.PingRequest())).ready
    writer.transport.abort()


@pytest.mark.parametrize("seed", range(4))
async def test_a_good_session_with_octets_changed(start_admin: StartAdmin, seed: int) -> None:
    chance = random.Random(seed)
    admin = await start_admin("demo")
    for _ in range(60):
        connection = h2.connection.H2Connection(h2.config.H2Configuration())
        connection.initiate_connection()
        for stream in (1, 3, 5):
            connection.send_headers(stream, list(HEADERS.items()))
            connection.send_data(stream, framed(REQUEST), end_stream=True)
        octets = bytearray(connection.data_to_send())
        for _ in range(chance.choice((1, 2, 10))):
            octets[chance.randrange(len(PREFACE), len(octets))] = chance.randrange(256)
        reader, writer = await asyncio.open_unix_connection(str(admin.path))
        writer.write(octets)
        writer.write_eof()
        async with asyncio.timeout(5):
            while await reader.read(1 << 16):
                pass
        writer.transport.abort()
    assert (await admin.server.Ping(m.PingRequest())).ready


async def test_streams_that_are_reset_at_once(raw: Raw) -> None:
    """CVE-2023-44487: each costs a Task that ends at its next step."""
    for stream in range(1, 2001, 2):
        raw.h2.send_headers(stream, list(HEADERS.items()))
        raw.h2.reset_stream(stream)
    raw.send()
    raw.h2.send_headers(2001, list(HEADERS.items()))
    raw.h2.send_data(2001, framed(REQUEST), end_stream=True)
    raw.send()
    assert (await raw.headers_of(2001))["grpc-status"] == "0"


async def test_a_message_larger_than_allowed_is_not_collected(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    big = m.AppendRequest(content=b"x" * (5 * 1024 * 1024))
    head, *_ = append_requests()
    failed = await fails(admin.mailboxes.Append, head, big)
    assert failed[:2] == (Status.RESOURCE_EXHAUSTED, "LIMIT")
