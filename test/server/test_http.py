"""Health and metrics over HTTP: what they say, and what strangers can do to them."""

from __future__ import annotations

import asyncio
import re
import sys
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from pymap.auth import authenticator
from pymap.backend.dict import DictBackend
from pymap.backend.errors import Unavailable
from pymap.http import listener as http
from pymap.http.metrics import LATENCY, MECHANISMS, Histogram, Lag, Metrics
from pymap.http.service import HttpService
from pymap.imap.server import Server, serve
from pymap.limits import Limits
from pymap.plugin import Service

from .client import WAIT_S, Client, becomes
from .conftest import Connect

DOCS = Path(__file__).parents[2] / "docs"


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes


class Probe:
    """One HTTP connection, octet by octet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    def close(self) -> None:
        self.writer.transport.abort()

    async def rest(self) -> bytes:
        """Until the server closes."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.read()

    async def answer(self) -> Answer:
        head, _, body = (await self.rest()).partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        assert first.startswith("HTTP/1.1 ")
        assert fields["Connection"] == "close"
        return Answer(int(first.split(" ")[1]), fields, body)


class Monitor:
    """Who looks after a server."""

    def __init__(self, service: HttpService, stack: AsyncExitStack) -> None:
        self.service = service
        self._stack = stack

    async def connect(self) -> Probe:
        probe = Probe(*await asyncio.open_connection(*self.service.addresses[0]))
        self._stack.callback(probe.close)
        return probe

    async def ask(self, octets: bytes) -> Answer:
        probe = await self.connect()
        probe.send(octets)
        return await probe.answer()

    async def get(self, path: str, method: str = "GET") -> Answer:
        return await self.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    async def metrics(self) -> dict[str, float]:
        """Each sample as it is written, labels in order of the alphabet: ``name{a=b}``."""
        answer = await self.get("/metrics")
        assert answer.status == 200
        return samples(answer.body)


def families(body: bytes) -> list[Metric]:
    return list(text_string_to_metric_families(body.decode()))


def samples(body: bytes) -> dict[str, float]:
    found = {}
    for family in families(body):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found
            found[name] = sample.value
    return found


Watch = Callable[..., Awaitable[Monitor]]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Begin to look after a server."""
    async with AsyncExitStack() as stack:

        async def watch(server: Server) -> Monitor:
            service = HttpService("127.0.0.1", 0)
            await stack.enter_async_context(service.run(server))
            return Monitor(service, stack)

        yield watch


class AwayBackend(DictBackend):
    """A store that may not answer."""

    def __init__(self) -> None:
        super().__init__({"demouser": "demopass"})
        self.trouble = ""
        self.silent = False

    async def ping(self) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.trouble:
            raise Unavailable(self.trouble)


@pytest.fixture
async def away() -> AsyncIterator[tuple[Server, AwayBackend]]:
    backend = AwayBackend()
    async with serve(backend) as server:
        yield server, backend


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve(DictBackend({"demouser": "demopass"})) as server:
        yield server


@pytest.fixture
async def monitor(server: Server, watch: Watch) -> Monitor:
    return await watch(server)


# -- health --


async def test_it_is_alive_and_ready(monitor: Monitor) -> None:
    alive, ready = await monitor.get("/healthz"), await monitor.get("/readyz")
    assert (alive.status, alive.body) == (200, b"ok\n")
    assert (ready.status, ready.body) == (200, b"ready\n")


async def test_a_store_that_is_away_is_told(away: tuple[Server, AwayBackend], watch: Watch) -> None:
    server, backend = away
    monitor = await watch(server)
    backend.trouble = "no connection to the store"
    ready = await monitor.get("/readyz")
    assert (ready.status, ready.body) == (503, b"no connection to the store\n")
    assert (await monitor.get("/healthz")).status == 200
    backend.trouble = ""
    assert (await monitor.get("/readyz")).status == 200


async def test_a_store_that_does_not_answer_is_not_waited_for(
    away: tuple[Server, AwayBackend], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pymap.http.service.READY_S", 0.05)
    server, backend = away
    monitor = await watch(server)
    backend.silent = True
    ready = await monitor.get("/readyz")
    assert (ready.status, ready.body) == (503, b"the store does not answer\n")


async def test_a_bug_in_the_store_is_a_500(
    away: tuple[Server, AwayBackend],
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, backend = away

    async def ping() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(backend, "ping", ping)
    monitor = await watch(server)
    assert (await monitor.get("/readyz")).status == 500
    assert "ZeroDivisionError" in caplog.text
    assert (await monitor.get("/healthz")).status == 200


async def test_a_server_that_ends_is_not_ready(server: Server, watch: Watch) -> None:
    monitor = await watch(server)
    await server.close()
    ready = await monitor.get("/readyz")
    assert ready.status == 503
    assert b"shutting down" in ready.body


async def test_it_ends_with_its_service(server: Server) -> None:
    service = HttpService("127.0.0.1", 0)
    async with service.run(server):
        reader, writer = await asyncio.open_connection(*service.addresses[0])
        writer.write(b"GET ")
        assert await becomes(lambda: len(server.observers) == 1)
    async with asyncio.timeout(WAIT_S):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.transport.abort()
    assert not server.observers
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*service.addresses[0])


async def test_it_is_off_unless_asked_for(server: Server) -> None:
    service = HttpService()
    async with service.run(server):
        assert not service.addresses
        assert not server.observers


async def test_a_port_that_is_taken_is_said(server: Server) -> None:
    host, port = server.addresses[0]
    with pytest.raises(OSError, match=f"--http {re.escape(host)}:{port}: "):
        async with HttpService(host, port).run(server):
            pass
    assert not server.observers


async def test_outside_of_this_machine_it_warns(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with HttpService("127.0.0.1", 0).run(server):
        assert not caplog.records
    async with HttpService("0.0.0.0", 0).run(server):
        assert "whoever can reach 0.0.0.0" in caplog.text


# -- options --


def parsed(*args: str) -> HttpService:
    parser = ArgumentParser()
    HttpService.add_arguments(parser)
    return HttpService.from_args(parser.parse_args(args))


def test_it_is_a_service() -> None:
    assert issubclass(HttpService, Service)


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [
        ("127.0.0.1:9180", "127.0.0.1", 9180),
        ("localhost:0", "localhost", 0),
        ("[::1]:9180", "::1", 9180),
    ],
)
def test_where(place: str, host: str, port: int) -> None:
    service = parsed("--http", place)
    assert (service.host, service.port) == (host, port)
    assert parsed().host is None


@pytest.mark.parametrize(
    "place",
    [
        "",
        "9180",
        ":9180",
        "host",
        "host:",
        "host:http",
        "host:65536",
        "host:-1",
        "::1:9180",
        "[host]:1",
        "[]:1",
    ],
)
def test_no_place(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--http", place)
    assert "is not HOST:PORT" in capsys.readouterr().err


# -- HTTP --

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.0\n\n",
        b"GET /healthz HTTP/1.1\nHost: x\n\n",
        b"GET /healthz?verbose=1 HTTP/1.1\r\nHOST:x\r\nAccept: */*\r\nX-Empty:\r\nX-Latin: \xe4\r\n\r\n",
        b"GET http://host.example:9180/healthz HTTP/1.1\r\nHost: host.example\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 8000 + b"\r\n\r\n",
    ],
)  # fmt: skip
async def test_a_request_at_once_and_octet_by_octet(monitor: Monitor, request_: bytes) -> None:
    assert (await monitor.ask(request_)).status == 200
    probe = await monitor.connect()
    step = 1 if len(request_) < 200 else 997
    for at in range(0, len(request_), step):
        probe.send(request_[at : at + step])
        await asyncio.sleep(0)
    assert (await probe.answer()).body == b"ok\n"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nothing"])
async def test_head_is_get_without_the_body(monitor: Monitor, path: str) -> None:
    get, head = await monitor.get(path), await monitor.get(path, "HEAD")
    assert head.status == get.status
    assert head.fields["Content-Type"] == get.fields["Content-Type"]
    assert head.body == b""
    assert len(get.body) == int(get.fields["Content-Length"])


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /healthz/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /../metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http:///healthz?/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET http://?/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"CONNECT x:25 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n", 400),
        (b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"GET /h\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/11\r\nHost: x\r\n\r\n", 400),
        (b"\r\n" + GET, 400),
        (b"\n\n", 400),
        (b"a1 LOGIN demouser demopass\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n", 431),
        (b"x" * 100_000, 431),
    ],
)  # fmt: skip
async def test_what_it_does_not_take(
    monitor: Monitor, request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await monitor.ask(request_)
    assert answer.status == status
    assert ("Allow" in answer.fields) == (status == 405)
    assert (await monitor.get("/healthz")).status == 200
    assert not caplog.records


async def test_what_is_pipelined_is_not_answered(monitor: Monitor) -> None:
    probe = await monitor.connect()
    probe.send(GET * 3)
    assert (await probe.rest()).count(b"HTTP/1.1") == 1


async def test_a_body_without_end_does_not_keep_the_answer_from_coming(monitor: Monitor) -> None:
    probe = await monitor.connect()
    probe.send(b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    probe.send(b"ffff\r\n" + b"x" * 100_000)
    assert (await probe.answer()).status == 405


async def test_who_hangs_up_is_no_error(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    for octets in (b"", b"GET", b"GET /metrics HTTP/1.1\r\n", GET):
        for abort in (True, False):
            probe = await monitor.connect()
            probe.send(octets)
            if abort:
                probe.close()
            else:
                probe.writer.write_eof()
                await probe.rest()
    assert (await monitor.get("/healthz")).status == 200
    assert not caplog.records


async def test_a_request_that_does_not_come_is_not_waited_for(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.05)
    silent, slow = await monitor.connect(), await monitor.connect()
    slow.send(b"GET /healthz HTTP/1.1\r\nX: ")

    async def trickle() -> None:
        while not slow.writer.transport.is_closing():
            slow.send(b"y")
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(trickle())
        assert (await slow.answer()).status == 408
        task.cancel()
    assert (await silent.answer()).status == 408


async def test_who_does_not_read_is_cut_off(
    server: Server, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "WRITE_S", 0.05)
    monkeypatch.setattr(http, "LINGER_S", 0.05)

    async def much() -> http.Response:
        return http.Response(http.HTTPStatus.OK, bytes(64 << 20))

    listener = http.Listener({"/much": much})
    address = (await listener.open("127.0.0.1", 0))[0]
    try:
        reader, writer = await asyncio.open_connection(*address, limit=1024)
        writer.write(b"GET /much HTTP/1.0\r\n\r\n")
        await reader.readline()
        assert await becomes(lambda: not listener._tasks)
        writer.transport.abort()
    finally:
        await listener.close()


async def test_a_large_answer_arrives_whole(server: Server) -> None:
    async def much() -> http.Response:
        return http.Response(http.HTTPStatus.OK, b"x" * (8 << 20))

    listener = http.Listener({"/much": much})
    address = (await listener.open("127.0.0.1", 0))[0]
    try:
        probe = Probe(*await asyncio.open_connection(*address))
        probe.send(b"GET /much HTTP/1.0\r\n\r\n")
        assert len((await probe.answer()).body) == 8 << 20
        probe.close()
    finally:
        await listener.close()


async def test_so_many_and_no_more(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECTIONS", 3)
    waiting = [await monitor.connect() for _ in range(3)]
    one_more = await monitor.connect()
    assert (await one_more.answer()).status == 503
    for probe in waiting:
        probe.send(GET)
        assert (await probe.answer()).status == 200
        probe.close()
    assert (await monitor.get("/healthz")).status == 200


# -- metrics --


async def log_in(connect: Connect, server: Server) -> Client:
    client = await connect(server)
    client.send(b"a LOGIN demouser demopass\r\n")
    await client.until(b"a")
    return client


async def test_connections_by_state(server: Server, monitor: Monitor, connect: Connect) -> None:
    await connect(server)
    selected, gone = await log_in(connect, server), await log_in(connect, server)
    selected.send(b"b SELECT INBOX\r\n")
    await selected.until(b"b")
    got = await monitor.metrics()
    assert got["pymap_connections_open{state=not_authenticated}"] == 1
    assert got["pymap_connections_open{state=authenticated}"] == 1
    assert got["pymap_connections_open{state=selected}"] == 1
    assert got["pymap_connections_total{tls=false}"] == 3
    await gone.close()
    assert await becomes(lambda: len(server.clients) == 2)
    got = await monitor.metrics()
    assert got["pymap_connections_open{state=authenticated}"] == 0
    assert got["pymap_connections_total{tls=false}"] == 3
    assert got["pymap_session_duration_seconds_count"] == 1


async def test_octets_count_as_they_flow_and_stay(
    server: Server, monitor: Monitor, connect: Connect
) -> None:
    client = await connect(server)
    octets = b"a NOOP\r\n"
    client.send(octets)
    answer = await client.until(b"a")
    said = len(client.greeting) + len(answer.tagged)
    for _ in range(2):
        got = await monitor.metrics()
        assert got["pymap_received_bytes_total"] == len(octets)
        assert got["pymap_sent_bytes_total"] == said
        await client.close()
        assert await becomes(lambda: not server.clients)


async def test_commands_and_their_time(server: Server, monitor: Monitor, connect: Connect) -> None:
    client = await log_in(connect, server)
    client.send(b"b SELECT INBOX\r\nc FETCH 1 (FLAGS)\r\nd UID FETCH 1:* (UID)\r\n")
    client.send(b"e SELECT nowhere\r\nf GARBAGE\r\ng FETCH\r\n\xff\x00\r\n")
    client.send(b"i IDLE\r\nDONE\r\n")
    await client.until(b"i")
    got = await monitor.metrics()
    assert got["pymap_commands_total{command=LOGIN,result=ok}"] == 1
    assert got["pymap_commands_total{command=SELECT,result=ok}"] == 1
    assert got["pymap_commands_total{command=SELECT,result=no}"] == 1
    assert got["pymap_commands_total{command=IDLE,result=ok}"] == 1
    commands = {k: v for k, v in got.items() if k.startswith("pymap_commands_total")}
    assert sum(commands.values()) == 9
    unknown = {k for k in commands if "command=?" in k}
    assert unknown == {"pymap_commands_total{command=?,result=bad}"}
    assert got["pymap_command_duration_seconds_count{command=SELECT}"] == 2
    assert 0 < got["pymap_command_duration_seconds_sum{command=LOGIN}"] < WAIT_S
    assert not [k for k in got if "duration" in k and "IDLE" in k]
    assert not [k for k in got if "GARBAGE" in k]


async def test_buckets_add_up(server: Server, monitor: Monitor, connect: Connect) -> None:
    await log_in(connect, server)
    body = (await monitor.get("/metrics")).body
    for family in families(body):
        if family.type != "histogram":
            continue
        buckets: dict[str, list[float]] = {}
        counts: dict[str, float] = {}
        for sample in family.samples:
            command = sample.labels.get("command", "")
            if sample.name.endswith("_bucket"):
                buckets.setdefault(command, []).append(sample.value)
            elif sample.name.endswith("_count"):
                counts[command] = sample.value
        for command, values in buckets.items():
            assert values == sorted(values)
            assert values[-1] == counts[command]


async def test_logins_and_failures(server: Server, monitor: Monitor, connect: Connect) -> None:
    client = await connect(server)
    client.send(b"a LOGIN demouser wrong\r\n")
    await client.until(b"a")
    client.send(b"b LOGIN demouser demopass\r\n")
    await client.until(b"b")
    got = await monitor.metrics()
    assert got["pymap_authentications_total{mechanism=LOGIN,result=failed}"] == 1
    assert got["pymap_authentications_total{mechanism=LOGIN,result=ok}"] == 1


async def test_what_clients_make_up_makes_no_metric(
    server: Server, monitor: Monitor, connect: Connect
) -> None:
    client = await connect(server)
    for number in range(10):
        client.send(b"a AUTHENTICATE MADE-UP-%d\r\n" % number)
        await client.until(b"a")
        client.send(b"a XMADEUP%d\r\n" % number)
        await client.until(b"a")
    body = (await monitor.get("/metrics")).body
    assert b"MADE" not in body


async def test_messages_appended(server: Server, monitor: Monitor, connect: Connect) -> None:
    client = await log_in(connect, server)
    client.send(b"b APPEND INBOX {6+}\r\na: b\r\n {8+}\r\na: b\r\n\r\n\r\n")
    assert (await client.until(b"b")).condition == b"OK"
    got = await monitor.metrics()
    assert got["pymap_messages_appended_total{source=append}"] == 2
    assert got["pymap_appended_bytes_total{source=append}"] == 14
    assert got["pymap_messages_appended_total{source=admin}"] == 0


async def test_who_is_turned_away(watch: Watch, connect: Connect) -> None:
    backend = DictBackend({"demouser": "demopass"})
    async with serve(backend, limits=Limits(connections=1)) as server:
        monitor = await watch(server)
        await connect(server)
        await connect(server)
        assert (await monitor.metrics())["pymap_refused_total{reason=limit}"] == 1


async def test_what_is_watched_is_there_before_it_happens(monitor: Monitor) -> None:
    got = await monitor.metrics()
    for name in (
        "pymap_backend_errors_total{code=UNAVAILABLE}",
        "pymap_backend_errors_total{code=CORRUPTION}",
        "pymap_backend_errors_total{code=SERVERBUG}",
        "pymap_tls_handshakes_total{result=failed}",
        "pymap_refused_total{reason=limit}",
        "pymap_authentications_total{mechanism=LOGIN,result=failed}",
    ):
        assert got[name] == 0


async def test_the_process_shows(monitor: Monitor) -> None:
    got = await monitor.metrics()
    assert got["process_resident_memory_bytes"] > 1e6
    assert got["process_open_fds"] > 3
    assert got["process_cpu_seconds_total"] > 0
    built = [name for name in got if name.startswith("pymap_build_info{backend=DictBackend,")]
    assert [got[name] for name in built] == [1]


async def test_names_and_types_are_as_prometheus_wants_them(monitor: Monitor) -> None:
    answer = await monitor.get("/metrics")
    assert answer.fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    for family in families(answer.body):
        assert family.documentation
        assert family.name.startswith(("pymap_", "process_"))
        assert family.type in ("counter", "gauge", "histogram")


async def test_the_page_names_every_metric(monitor: Monitor) -> None:
    page = (DOCS / "monitoring.md").read_text("utf-8")
    described = set(re.findall(r"^\| `(pymap_[a-z_]+)(?:\{[a-z,]+\})?` \|", page, re.MULTILINE))
    told = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families((await monitor.get("/metrics")).body)
    }
    assert {name for name in told if name.startswith("pymap_")} == described


async def test_without_the_library_it_says_what_to_install(
    server: Server, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "pymap.http.exposition", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monitor = await watch(server)
    answer = await monitor.get("/metrics")
    assert answer.status == 501
    assert b"pip install 'pymap[metrics]'" in answer.body
    assert (await monitor.get("/readyz")).status == 200


# -- counting --


def test_a_value_falls_under_the_first_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram((1, 2, 5))
    for value in (0, 1, 1.5, 2, 5, 5.1, 100):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1, 2]
    assert histogram.total == sum((0, 1, 1.5, 2, 5, 5.1, 100))


def test_times_from_50_us_to_30_s_are_told_apart() -> None:
    assert LATENCY[0] == 50e-6
    assert LATENCY[-1] == 30
    assert list(LATENCY) == sorted(LATENCY)


def test_names_that_are_not_known_count_as_one() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.commanded(f"X{number}", "bad", 0.001)
        metrics.authenticated(f"X{number}", "failed")
    assert metrics.commands == {("?", "bad"): 1000}
    assert metrics.authentications["?", "failed"] == 1000
    assert not any(sum(durations.counts) for durations in metrics.durations.values())


def test_every_mechanism_is_known() -> None:
    assert set(MECHANISMS) == set(authenticator.MECHANISMS)


@pytest.mark.parametrize(("remembered", "most"), [(60, 0.5), (2, 0)])
async def test_lag_is_how_late_the_loop_is(
    monkeypatch: pytest.MonkeyPatch, remembered: int, most: float
) -> None:
    monkeypatch.setattr(Lag, "PERIOD_S", 0.001)
    monkeypatch.setattr(Lag, "REMEMBERED", remembered)
    # The clock is read when a look is planned, and when it happens: in time, late, early, in time.
    times = iter([0.0, 0.001, 1.0, 1.501, 2.0, 1.9])
    lag = Lag(lambda: next(times, 3.0))
    assert lag.most == 0
    async with lag.watch():
        assert await becomes(lambda: sum(lag.histogram.counts) >= 5)
    assert lag.histogram.total == pytest.approx(0.5)
    assert lag.most == pytest.approx(most)
