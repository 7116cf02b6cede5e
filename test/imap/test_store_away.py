"""A store that is away for a moment: what was done is answered, sessions live on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from remote_store import RemoteMailbox

from pymap.backend.errors import OverQuota, Unavailable
from pymap.imap.server import Server

StartServer = Callable[..., Awaitable[Server]]
MESSAGE = b"Subject: x\r\n\r\ny"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def command(self, line: bytes) -> list[bytes]:
        self.writer.write(b"a " + line + b"\r\n")
        lines: list[bytes] = []
        async with asyncio.timeout(10):
            while not lines or not lines[-1].startswith(b"a "):
                line = await self.reader.readline()
                assert line, lines
                lines.append(line.rstrip())
        return lines

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@pytest.fixture
async def client(imap_server: StartServer) -> Any:
    server = await imap_server(store="remote")
    made = Client(*await asyncio.open_connection(*server.addresses[0]))
    await made.command(b"LOGIN demouser demopass")
    assert (await made.command(b"SELECT INBOX"))[-1].startswith(b"a OK")
    yield made
    await made.close()


def fail_once(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> None:
    """The next call of a method of the store raises."""
    real = getattr(RemoteMailbox, method)

    async def broken(self: RemoteMailbox, *arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(RemoteMailbox, method, real)
        raise error

    monkeypatch.setattr(RemoteMailbox, method, broken)


async def test_what_was_done_is_answered_when_news_cannot_be_had(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, "changes", Unavailable())
    answer = await client.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    assert answer[-1].startswith(b"a OK [APPENDUID ")
    assert b"* 1 EXISTS" in await client.command(b"NOOP")


async def test_idle_lives_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_once(monkeypatch, "changes", Unavailable())
    client.writer.write(b"i IDLE\r\n")
    assert (await client.reader.readline()).startswith(b"+")
    client.writer.write(b"DONE\r\n")
    assert (await client.reader.readline()).startswith(b"i OK")
    assert (await client.command(b"NOOP"))[-1].startswith(b"a OK")


async def test_a_rename_of_inbox_that_fails_can_be_tried_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    fail_once(monkeypatch, "move", OverQuota())
    assert (await client.command(b"RENAME INBOX old"))[-1].startswith(b"a NO [OVERQUOTA]")
    assert (await client.command(b"RENAME INBOX old"))[-1].startswith(b"a OK")


async def replace(client: Client) -> bytes:
    return (await client.command(b"REPLACE 1 INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE)))[-1]


async def test_what_cannot_be_removed_is_not_replaced(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new message goes again, and nobody has to clean up.   RFC 8508 3.4"""
    await client.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    fail_once(monkeypatch, "expunge", Unavailable())
    assert (await replace(client)).startswith(b"a NO [UNAVAILABLE]")
    assert b"* 1 FETCH (UID 1)" in await client.command(b"FETCH 1:* UID")
    assert (await replace(client)).startswith(b"a OK")
    assert b"* 1 FETCH (UID 3)" in await client.command(b"FETCH 1:* UID")


async def test_one_message_is_replaced_once(imap_server: StartServer) -> None:
    """Of two that replace it at once, one is refused: there is one message again."""
    server = await imap_server(store="remote")
    clients = [Client(*await asyncio.open_connection(*server.addresses[0])) for _ in range(2)]
    for each in clients:
        await each.command(b"LOGIN demouser demopass")
    for _ in range(10):
        await clients[0].command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
        for each in clients:
            await each.command(b"SELECT INBOX")
        answers = sorted(await asyncio.gather(*map(replace, clients)))
        assert answers[0].startswith(b"a NO [EXPUNGEISSUED]")
        assert answers[1].startswith(b"a OK")
        await clients[0].command(b"NOOP")
        assert (await clients[0].command(b"SEARCH ALL"))[0] == b"* SEARCH 1"
        await clients[0].command(b"STORE 1 +FLAGS (\\Deleted)")
        await clients[0].command(b"EXPUNGE")
    for each in clients:
        await each.close()


@pytest.mark.parametrize("store", ["dict", "remote", "maildir", "redis"])
async def test_a_client_that_half_closes_gets_its_answers(
    imap_server: StartServer, store: str
) -> None:
    """As ``printf ... | nc -N`` does; the message is large enough to be parsed in a thread."""
    server = await imap_server(store=store)
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    message = b"Subject: x\r\n\r\n" + b"y" * 50_000
    writer.write(b"a LOGIN demouser demopass\r\nb APPEND INBOX {%d+}\r\n" % len(message))
    writer.write(message + b"\r\nc LOGOUT\r\n")
    writer.write_eof()
    async with asyncio.timeout(10):
        said = await reader.read()
    assert b"\r\nb OK [APPENDUID" in said
    assert said.endswith(b"c OK LOGOUT completed\r\n")
    writer.close()
    await writer.wait_closed()


async def test_news_is_told_though_nobody_can_claim_what_is_recent(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the view takes as told must be sent: else the client's numbers mean other messages."""
    other = Client(*await asyncio.open_connection(*client.writer.get_extra_info("peername")))
    await other.command(b"LOGIN demouser demopass")
    for _ in range(2):
        await client.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    await other.command(b"SELECT INBOX")
    await other.command(b"STORE 1 +FLAGS (\\Deleted)")
    await other.command(b"EXPUNGE")
    await other.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    await other.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    fail_once(monkeypatch, "claim_recent", OverQuota())
    told = await client.command(b"NOOP")
    assert b"* 1 EXPUNGE" in told
    assert b"* 3 EXISTS" in told
    assert told[-1].startswith(b"a OK")
    await other.close()


@pytest.mark.parametrize("command", [b"SEARCH", b"UID SEARCH", b"ESEARCH", b"UID SORT"])
async def test_a_search_that_fails_leaves_nothing_saved(
    client: Client, monkeypatch: pytest.MonkeyPatch, command: bytes
) -> None:
    """RFC 5182 2.1"""
    await client.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    search = command + b" RETURN (SAVE) " + (b"(DATE) UTF-8 " if b"SORT" in command else b"")
    assert (await client.command(search + b"ALL"))[-1].startswith(b"a OK")
    assert await client.command(b"FETCH $ UID")
    fail_once(monkeypatch, "changes", Unavailable())
    assert (await client.command(search + b"ALL"))[-1].startswith(b"a NO [UNAVAILABLE]")
    assert await client.command(b"SEARCH RETURN (COUNT) $") == [
        b'* ESEARCH (TAG "a") COUNT 0',
        b"a OK SEARCH completed",
    ]


async def test_a_search_of_many_mailboxes_does_not_pass_over_what_is_away(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mailbox that cannot be read just now may hold what is looked for."""
    await client.command(b"CREATE Other")
    await client.command(b"APPEND Other {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    fail_once(monkeypatch, "snapshot", Unavailable())
    answer = await client.command(b"ESEARCH IN (mailboxes Other) ALL")
    assert answer[-1].startswith(b"a NO [UNAVAILABLE]")
    answer = await client.command(b"ESEARCH IN (mailboxes Other) ALL")
    assert answer[0].startswith(b"* ESEARCH ")
