"""URLAUTH between users: who reads what of whom, and what nobody learns.   RFC 4467"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import remote_store
from maildir_store import maildir_of
from remote_store import RemoteBackend, RemoteMailbox, RemoteProperties

from pymap.backend.api import Backend, Properties, User
from pymap.backend.dict import DictBackend
from pymap.backend.errors import Unavailable
from pymap.config import ExtensionConfig
from pymap.imap.server import Server, serve

MESSAGE = b"From: joe@example.com\r\nSubject: x\r\n\r\nSi vis pacem, para bellum.\r\n"
USERS = {"joe": "p", "fred": "p", "submit": "p"}


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def command(self, line: bytes) -> bytes:
        """All that is answered to a command, with its tagged response."""
        self.writer.write(b"a %b\r\n" % line)
        said = b""
        async with asyncio.timeout(20):
            while not said.startswith(b"a ") and b"\r\na " not in said:
                said += await self.reader.readuntil(b"\r\n")
        return said

    async def authorize(self, *urls: str) -> list[str]:
        words = " ".join(f'"{url}" INTERNAL' for url in urls)
        said = await self.command(f"GENURLAUTH {words}".encode())
        assert b"\r\na OK" in said, said
        return said.decode().split("\r\n")[0].split('"')[1::2]

    async def fetch(self, url: str) -> bytes | None:
        said = await self.command(f'URLFETCH "{url}"'.encode())
        head = b'* URLFETCH "%b" ' % url.encode()
        assert said.startswith(head), said
        assert b"\r\na OK" in said
        if said.startswith(b"NIL\r\n", len(head)):
            return None
        size, _, rest = said[len(head) + 1 :].partition(b"}\r\n")
        return rest[: int(size)]


@asynccontextmanager
async def connected(server: Server, user: str) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*server.addresses[0], limit=1 << 24)
    client = Client(reader, writer)
    await client.reader.readline()
    assert b"a OK" in await client.command(b'LOGIN "%b" p' % user.encode())
    yield client
    writer.close()
    await writer.wait_closed()


@pytest.fixture(params=["dict", "remote", "maildir"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    local = DictBackend(USERS)
    match request.param:
        case "remote":
            return RemoteBackend(local)
        case "maildir":
            return maildir_of(local, tmp_path)
        case _:
            return local


async def filled(client: Client) -> None:
    said = await client.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    assert b"a OK" in said


def url(access: str, user: str = "joe") -> str:
    return f"imap://{user}@example.com/INBOX/;uid=1;urlauth={access}"


async def test_who_reads_what(backend: Backend) -> None:
    config = ExtensionConfig(submitters=frozenset(("submit",)))
    async with (
        serve(backend, extensions=config) as server,
        connected(server, "joe") as joe,
        connected(server, "fred") as fred,
        connected(server, "submit") as submit,
    ):
        await filled(joe)
        kinds = ["anonymous", "authuser", "user+fred", "submit+fred"]
        urls = await joe.authorize(*map(url, kinds))
        assert [await fred.fetch(each) for each in urls] == [MESSAGE, MESSAGE, MESSAGE, None]
        assert [await submit.fetch(each) for each in urls] == [MESSAGE, MESSAGE, None, MESSAGE]
        assert [await joe.fetch(each) for each in urls] == [MESSAGE, MESSAGE, None, None]
        # What fred authorizes is his own, whatever he writes, and joe's only joe can take back.
        assert b"a BAD" in await fred.command(f'GENURLAUTH "{url("anonymous")}" INTERNAL'.encode())
        await fred.command(b"RESETKEY")
        assert await fred.fetch(urls[0]) == MESSAGE
        await joe.command(b"RESETKEY INBOX")
        assert [await fred.fetch(each) for each in urls] == [None] * 4


async def test_a_role_of_the_store() -> None:
    local = DictBackend(USERS)
    await local.users.put(User("submit", "p", frozenset(("submit",))))
    async with (
        serve(local) as server,
        connected(server, "joe") as joe,
        connected(server, "submit") as submit,
    ):
        await filled(joe)
        (authorized,) = await joe.authorize(url("submit+joe"))
        assert await submit.fetch(authorized) == MESSAGE
        assert await joe.fetch(authorized) is None


async def test_users_with_odd_names() -> None:
    async with (
        serve(DictBackend({**USERS, "a/b%c d": "p"})) as server,
        connected(server, "a/b%c d") as odd,
        connected(server, "joe") as joe,
    ):
        await filled(odd)
        await filled(joe)
        (of_odd,) = await odd.authorize(url("user+joe", "a%2Fb%25c%20d"))
        (for_odd,) = await joe.authorize(url("user+a%2fb%25c%20d"))
        assert await joe.fetch(of_odd) == MESSAGE
        assert await odd.fetch(for_odd) == MESSAGE


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


async def test_nobody_is_made_by_being_asked_for(tmp_path: Path) -> None:
    """Nor is anything else of what is wrong to be seen from outside."""
    store = maildir_of(DictBackend(USERS), tmp_path)
    async with serve(store) as server, connected(server, "fred") as fred:
        before = await asyncio.to_thread(names, tmp_path)
        token = ":internal:" + "0" * 66
        for user in ("nobody", "..", "%2E%2E", "", "submit", "fred"):
            assert await fred.fetch(f"{url('anonymous', user)}{token}") is None
        assert not [name for name in await asyncio.to_thread(names, tmp_path) if "nobody" in name]
        # The account of a user that is there may be entered, as a login would.
        made = await asyncio.to_thread(names, tmp_path) - before
        assert {name.split("/")[1] for name in made} <= {"submit", "fred"}


async def test_the_work_does_not_tell_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what mailboxes there are, which RFC 4467 6 asks for: time would tell."""
    calls = 0
    real = remote_store.distance

    async def counted() -> None:
        nonlocal calls
        calls += 1
        await real()

    monkeypatch.setattr(remote_store, "distance", counted)
    token = ":internal:01" + "0" * 64
    async with (
        serve(RemoteBackend(DictBackend(USERS))) as server,
        connected(server, "fred") as fred,
        connected(server, "joe") as joe,
    ):
        await joe.authorize(url("authuser"))
        work = set()
        for user in ("joe", "submit", "nobody"):
            calls = 0
            assert await fred.fetch(f"{url('authuser', user)}{token}") is None
            work.add(calls)
        assert len(work) == 1, work


async def test_a_key_is_made_once(backend: Backend) -> None:
    """However many ask for it at once: what each has got stays right."""
    async with serve(backend) as server:
        async with connected(server, "joe") as joe:
            await filled(joe)

        async def authorize() -> list[str]:
            async with connected(server, "joe") as client:
                return await client.authorize(url("authuser"))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(authorize()) for _ in range(8)]
        assert len({task.result()[0] for task in tasks}) == 1
        async with connected(server, "fred") as fred:
            assert await fred.fetch(tasks[0].result()[0]) == MESSAGE


async def test_a_mailbox_that_moved_and_one_in_its_place(backend: Backend) -> None:
    async with (
        serve(backend) as server,
        connected(server, "joe") as joe,
        connected(server, "fred") as fred,
    ):
        await joe.command(b"CREATE a")
        await joe.command(b"APPEND a {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
        (authorized,) = await joe.authorize("imap://joe@h/a/;UID=1;URLAUTH=authuser")
        await joe.command(b"RENAME a b")
        assert await fred.fetch(authorized) is None
        await joe.command(b"CREATE a")
        await joe.command(b"APPEND a {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
        assert await fred.fetch(authorized) is None
        await joe.command(b"DELETE a")
        await joe.command(b"RENAME b a")
        assert await fred.fetch(authorized) == MESSAGE  # the key went with its mailbox


async def test_a_large_part(backend: Backend) -> None:
    large = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * 200_000
    async with (
        serve(backend) as server,
        connected(server, "joe") as joe,
        connected(server, "fred") as fred,
    ):
        await joe.command(b"APPEND INBOX {%d+}\r\n%b" % (len(large), large))
        whole, some = await joe.authorize(
            url("authuser"), "imap://joe@h/INBOX/;UID=1/;PARTIAL=1000000.2000000;URLAUTH=authuser"
        )
        assert await fred.fetch(whole) == large
        assert await fred.fetch(some) == large[1_000_000:3_000_000]
        said = await fred.command(f'URLFETCH ("{some}" BINARY BODYPARTSTRUCTURE)'.encode())
        assert b"(BINARY {2000000}\r\n" + large[1_000_000:3_000_000] + b")" in said


async def test_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "A NO response indicates a server internal failure that may be resolved on later retry." """
    async with (
        serve(RemoteBackend(DictBackend(USERS))) as server,
        connected(server, "joe") as joe,
        connected(server, "fred") as fred,
    ):
        await filled(joe)
        (authorized,) = await joe.authorize(url("authuser"))
        for place, method in ((RemoteMailbox, "content"), (RemoteProperties, "read")):

            async def broken(self: object, *arguments: object) -> object:
                raise Unavailable

            with monkeypatch.context() as patch:
                patch.setattr(place, method, broken)
                said = await fred.command(f'URLFETCH "{authorized}"'.encode())
                assert said.startswith(b"a NO [UNAVAILABLE]")
        assert await fred.fetch(authorized) == MESSAGE


async def test_who_acts_for_another_is_that_one() -> None:
    """ "user+" is about the authorization identity, MUST   RFC 4467 3"""
    local = DictBackend(USERS)
    await local.users.put(User("boss", "p", frozenset(("master",))))
    async with (
        serve(local) as server,
        connected(server, "joe") as joe,
        connected(server, "fred*boss") as boss,
    ):
        await filled(joe)
        for_fred, for_boss = await joe.authorize(url("user+fred"), url("user+boss"))
        assert await boss.fetch(for_fred) == MESSAGE
        assert await boss.fetch(for_boss) is None


async def test_after_unauthenticate() -> None:
    async with serve(DictBackend(USERS)) as server, connected(server, "joe") as client:
        await filled(client)
        await client.command(b"SELECT INBOX")
        for_fred, for_joe = await client.authorize(url("user+fred"), url("user+joe"))
        await client.command(b"UNAUTHENTICATE")
        assert (await client.command(f'URLFETCH "{for_joe}"'.encode())).startswith(b"a BAD")
        await client.command(b"LOGIN fred p")
        assert await client.fetch(for_joe) is None
        assert await client.fetch(for_fred) == MESSAGE


async def test_where_the_store_keeps_no_properties() -> None:
    class Plain(DictBackend):
        def properties(self, scope: str) -> Properties | None:  # type: ignore[override]
            return None

    async with serve(Plain(USERS)) as server, connected(server, "joe") as joe:
        assert b"URLAUTH" not in await joe.command(b"CAPABILITY")
        assert b"URLMECH" not in await joe.command(b"SELECT INBOX")
        for line in (f'GENURLAUTH "{url("authuser")}" INTERNAL', "RESETKEY", "URLFETCH x"):
            assert (await joe.command(line.encode())).startswith(b"a BAD")


async def test_urlmech_is_not_for_those_who_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 4467 10"""
    async with serve(DictBackend(USERS)) as server, connected(server, "joe") as joe:
        assert b"[URLMECH INTERNAL]" in await joe.command(b"SELECT INBOX")
        (client,) = server.clients
        client.channel = replace(client.channel, private=False)
        assert b"URLMECH" not in await joe.command(b"SELECT INBOX")
        assert b"URLMECH" not in await joe.command(b"RESETKEY INBOX")


async def test_a_thousand_urls_in_one_command(backend: Backend) -> None:
    async with (
        serve(backend) as server,
        connected(server, "joe") as joe,
        connected(server, "fred") as fred,
    ):
        await filled(joe)
        urls = await joe.authorize(*[url("authuser")] * 1000)
        assert len(urls) == 1000
        said = await fred.command(b"URLFETCH " + b" ".join(b'"%b"' % u.encode() for u in urls))
        assert said.count(b"Si vis pacem") == 1000
        assert (await fred.command(b"URLFETCH" + b" x" * 1001)).startswith(b"a NO [LIMIT]")
