"""A long command gives signs of life.   RFC 9585"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from remote_store import RemoteMailbox

from pymap.imap.client import PROGRESS_S
from pymap.imap.progress import Progress
from pymap.imap.server import Server

StartServer = Callable[..., Awaitable[Server]]
MESSAGE = b"Subject: x\r\n\r\ny"


@pytest.mark.parametrize(
    ("done", "goal", "state"),
    [(0, 0, "NIL NIL"), (175, None, "175 NIL"), (0, 1000, "0 1000"), (175, 1000, "175 1000")],
)
def test_state(done: int, goal: int | None, state: str) -> None:
    """RFC 9585 5"""
    progress = Progress()
    progress.done, progress.goal = done, goal
    assert str(progress) == state


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *lines: bytes) -> None:
        self.writer.write(b"".join(line + b"\r\n" for line in lines))

    async def line(self) -> bytes:
        async with asyncio.timeout(10):
            return (await self.reader.readline()).rstrip()

    async def until(self, tag: bytes) -> list[bytes]:
        lines = [await self.line()]
        while not lines[-1].startswith(tag + b" "):
            assert lines[-1]
            lines.append(await self.line())
        return lines


@pytest.fixture
async def server(imap_server: StartServer) -> Server:
    return await imap_server(store="remote")


@pytest.fixture
async def client(server: Server) -> Any:
    made = Client(*await asyncio.open_connection(*server.addresses[0]))
    append = b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE)
    made.send(b"a LOGIN demouser demopass", *(b"%d %b" % (n, append) for n in range(100)))
    made.send(b"b SELECT INBOX")
    await made.until(b"b")
    yield made
    made.writer.close()
    await made.writer.wait_closed()


def stall(monkeypatch: pytest.MonkeyPatch, method: str, after: int = 0) -> asyncio.Event:
    """A method of the store waits for the event, from some call on."""
    real, go, calls = getattr(RemoteMailbox, method), asyncio.Event(), 0

    async def slow(self: RemoteMailbox, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            await go.wait()
        return await real(self, *arguments)

    monkeypatch.setattr(RemoteMailbox, method, slow)
    return go


def test_usual_interval() -> None:
    assert 10 <= PROGRESS_S <= 15  # RFC 9585 4


@pytest.mark.parametrize(
    ("command", "method", "after", "state"),
    [
        # One key has looked at the first 64 of 100 messages, another at none.
        (b"SEARCH TEXT nothing", "digests", 1, b"64 100"),
        (b"UID SEARCH TEXT nothing BODY nothing", "digests", 1, b"64 200"),
        (b"SEARCH 1:60 TEXT nothing", "digests", 0, b"40 100"),
        (b"SORT (SUBJECT) UTF-8 ALL", "digests", 0, b"0 100"),
        (b"THREAD REFS UTF-8 ALL", "digests", 0, b"0 100"),
        (b"ESEARCH IN (personal) TEXT nothing", "digests", 1, b"64 NIL"),
        (b"COPY 1:* INBOX", "copy", 0, b"NIL NIL"),
        (b"UID MOVE 1:* INBOX", "move", 0, b"NIL NIL"),
    ],
)
async def test_long_command(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch,
    command: bytes, method: str, after: int, state: bytes,
) -> None:  # fmt: skip
    server.progress_s = 0.01
    go = stall(monkeypatch, method, after)
    client.send(b"c1 " + command)
    for _ in range(3):
        line = await client.line()
        while not line.startswith(b'* OK [INPROGRESS ("c1" %b)] ' % state):
            # What the command has not come to yet, on a slow machine.
            assert line.startswith(b'* OK [INPROGRESS ("c1" '), line
            line = await client.line()
    go.set()
    assert (await client.until(b"c1"))[-1].startswith(b"c1 OK")


async def test_a_tag_that_would_end_the_code(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.progress_s = 0.01
    go = stall(monkeypatch, "copy")
    client.send(b"c] COPY 1 INBOX")
    assert (await client.line()).startswith(b"* OK [INPROGRESS] ")
    go.set()
    await client.until(b"c]")


async def test_other_commands_say_nothing(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FETCH may stand in the middle of a response, IDLE takes as long as the client likes."""
    server.progress_s = 0.001
    go = stall(monkeypatch, "digests")
    client.send(b"c1 FETCH 1 ENVELOPE", b"c2 NOOP")
    slower = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, slower.set)
    await slower.wait()
    go.set()
    lines = await client.until(b"c2")
    assert not [line for line in lines if b"INPROGRESS" in line]


async def test_quick_commands_say_nothing(client: Client) -> None:
    client.send(b"c1 SEARCH TEXT nothing", b"c2 COPY 1 INBOX", b"c3 NOOP")
    lines = await client.until(b"c3")
    assert not [line for line in lines if b"INPROGRESS" in line]
