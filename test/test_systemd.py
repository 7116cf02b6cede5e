"""What systemd hears of a service, and what it hands over: over real sockets, in real processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymap import systemd

VARIABLES = [
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
    "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket that systemd reads."""
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@pymap-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0"))
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield sock


# -- sd_notify --


def test_the_life_of_a_service(manager: socket.socket) -> None:
    systemd.ready("143 and 993")
    assert manager.recv(1000) == b"READY=1\nSTATUS=143 and 993"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.reloading()
    first, second = manager.recv(1000).split(b"\n")
    assert first == b"RELOADING=1"
    name, _, value = second.partition(b"=")
    assert name == b"MONOTONIC_USEC"
    assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.ready()
    assert manager.recv(1000) == b"READY=1\nSTATUS="
    systemd.stopping("draining")
    assert manager.recv(1000) == b"STOPPING=1\nSTATUS=draining"


def test_a_text_is_one_assignment(manager: socket.socket) -> None:
    assert systemd.notify("STATUS=a\nREADY=1", "WATCHDOG=1")
    assert manager.recv(1000) == b"STATUS=a READY=1\nWATCHDOG=1"
    assert systemd.notify("STATUS=\udc80é")
    assert manager.recv(1000) == "STATUS=?é".encode()


@pytest.mark.parametrize(
    "address",
    ["", "relative", "/nonexistent/socket", "@" + "x" * 200, "/" + "x" * 200, "vsock:2:1", "/\0"],
)
def test_without_anybody_to_tell_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(os, "environ", {"NOTIFY_SOCKET": address})
    assert not systemd.notify("READY=1")
    monkeypatch.setattr(os, "environ", {})
    assert not systemd.notify("READY=1")


def test_a_manager_that_does_not_read_holds_nobody_up(manager: socket.socket) -> None:
    sent = 0
    while systemd.notify("STATUS=" + "x" * 1000):
        sent += 1
    assert manager.recv(2000).startswith(b"STATUS=")
    assert sent >= 1


# -- the watchdog --


@pytest.mark.parametrize(
    ("usec", "pid", "interval_s"),
    [
        ("30000000", None, 30),
        ("500000", "own", 0.5),
        ("500000", "1", None),  # it listens to another process
        ("500000", "", None),
        ("0", None, None),
        ("-1", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_interval_of_the_watchdog(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, interval_s: float | None
) -> None:
    if usec is not None:
        monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert systemd.watchdog_s() == interval_s


async def test_the_watchdog_hears_of_the_loop(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    manager.setblocking(False)
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = asyncio.create_task(systemd.watchdog())
    for _ in range(5):
        assert await asyncio.wait_for(loop.sock_recv(manager, 100), 10) == b"WATCHDOG=1"
    assert loop.time() - began >= 4 * 0.01  # one at once, then twice in each interval
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_without_a_watchdog_there_is_nothing_to_run(manager: socket.socket) -> None:
    await systemd.watchdog()
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


# -- socket activation --

# Stands for systemd: opens what the arguments name as descriptors 3 and up, and becomes the
# service, whose process number it can tell for that reason.
MANAGER = """
import os, socket, sys
pid, names, what, *service = sys.argv[1:]
opened = []
for kind in what.split(","):
    if kind == "file":
        fd = os.open(os.devnull, os.O_RDONLY)
    elif kind == "closed":
        fd = None
    else:
        family = socket.AF_UNIX if kind.startswith("unix") else socket.AF_INET
        type = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
        sock = socket.socket(family, type)
        sock.bind("\\0pymap-%d" % os.getpid() if family == socket.AF_UNIX else ("127.0.0.1", 0))
        if kind in ("tcp", "unix"):
            sock.listen()
        fd = sock.detach()
    opened.append(None if fd is None else os.dup2(fd, 100 + len(opened)))
for n, fd in enumerate(opened):
    if fd is None:
        os.closerange(3 + n, 4 + n)
    else:
        os.dup2(fd, 3 + n, inheritable=True)
os.closerange(3 + len(opened), 200)
os.environ["LISTEN_FDS"] = str(len(opened))
os.environ["LISTEN_PID"] = str(os.getpid()) if pid == "own" else pid
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.execv(service[0], service)
"""

# Tells what it was given. Descriptors that it did not take stay open, and are the child's too.
SERVICE = """
import asyncio, os, socket, subprocess, sys
from pymap import systemd
try:
    found = systemd.listeners()
except ValueError as error:
    print("refused:", error)
    sys.exit()
for name, sock in found:
    print(name, sock.family.name, sock.fileno(), sock.getblocking(), os.get_inheritable(sock.fileno()))
print("again:", systemd.listeners())
print("left:", sorted(name for name in os.environ if name.startswith("LISTEN_")))

async def serve():
    def answer(reader, writer):
        writer.write(b"hello")
        writer.close()
    for _, sock in found:
        async with await asyncio.start_server(answer, sock=sock) as server:
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            print((await reader.read()).decode())
            writer.close()
            await writer.wait_closed()

if found and found[0][1].family == socket.AF_INET:
    asyncio.run(serve())
for _, sock in found:
    sock.close()
"""


def activate(what: str, names: str = "", pid: str = "own") -> list[str]:
    """What the service prints that is started with these descriptors."""
    command = [sys.executable, "-c", MANAGER, pid, names, what]
    command += [sys.executable, "-W", "error", "-c", SERVICE]
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    environment["PYTHONPATH"] = str(Path(systemd.__file__).parents[1])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_listeners_are_taken_over() -> None:
    assert activate("tcp,tcp", "imap:imaps") == [
        "imap AF_INET 3 False False",
        "imaps AF_INET 4 False False",
        "again: []",
        "left: []",
        "hello",
        "hello",
    ]


@pytest.mark.parametrize(
    ("given", "names"),
    [("", ["unknown", "unknown"]), ("imap", ["imap", "unknown"]), (":b:c", ["unknown", "b"])],
)
def test_missing_names_are_unknown(given: str, names: list[str]) -> None:
    lines = activate("unix,tcp", given)
    assert lines[:2] == [f"{names[0]} AF_UNIX 3 False False", f"{names[1]} AF_INET 4 False False"]


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    assert activate("tcp", pid="1") == ["again: []", "left: []"]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("file", "what systemd passes as x is no socket: Socket operation on non-socket"),
        ("closed", "what systemd passes as x is no socket: Bad file descriptor"),
        ("udp", "what systemd passes as x does not listen: it needs ListenStream="),
        ("bound", "what systemd passes as x does not listen: it needs ListenStream="),
        ("tcp,file", "what systemd passes as y is no socket: Socket operation on non-socket"),
    ],
)
def test_what_does_not_listen_is_refused(what: str, text: str) -> None:
    assert activate(what, "x:y") == [f"refused: {text}"]


@pytest.mark.parametrize("count", ["", "none", "-1", "1e9", "0"])
def test_a_count_that_is_none_is_none(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    assert systemd.listeners() == []
    assert "LISTEN_FDS" not in os.environ


def test_without_systemd_there_are_none() -> None:
    assert systemd.listeners() == []


# -- systemd's own tools, where they are --


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} here")
    return path


def test_as_systemd_notify_says_it(manager: socket.socket) -> None:
    """The same octets as systemd's own library sends."""
    tool = _tool("systemd-notify")
    subprocess.run([tool, "--no-block", "--ready", "--status=up"], check=True, timeout=60)
    assert sorted(manager.recv(1000).split(b"\n")) == [b"READY=1", b"STATUS=up"]
    systemd.ready("up")
    assert sorted(manager.recv(1000).split(b"\n")) == [b"READY=1", b"STATUS=up"]


def test_as_systemd_activates_it(unused_tcp_port: int) -> None:
    tool = _tool("systemd-socket-activate")
    command = [tool, "-l", f"127.0.0.1:{unused_tcp_port}", "--fdname=imap", "-E", "PYTHONPATH"]
    command += [sys.executable, "-c", SERVICE]
    environment = os.environ | {"PYTHONPATH": str(Path(systemd.__file__).parents[1])}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        # It starts the service once somebody connects.
        assert process.stderr is not None
        for line in process.stderr:
            if "Listening on" in line:
                break
        socket.create_connection(("127.0.0.1", unused_tcp_port)).close()
        output, _ = process.communicate(timeout=60)
    assert output.splitlines()[:3] == ["imap AF_INET 3 False False", "again: []", "left: []"]
