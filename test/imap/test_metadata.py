"""Annotations of several users, and of the server: who sees what, and who may change it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from server.client import Client

from pymap.auth.authenticator import Authenticator
from pymap.backend.api import Properties, User
from pymap.backend.conformance import WithoutIndex
from pymap.backend.dict import DictBackend
from pymap.backend.errors import Unavailable
from pymap.config import AuthConfig, ExtensionConfig
from pymap.imap.annotations import USERS, copy_all, read, read_both, write
from pymap.imap.server import serve
from pymap.limits import Limits
from pymap.wire.errors import Refused

LIMITS = Limits()


@pytest.fixture
async def backend() -> DictBackend:
    backend = DictBackend({"alice": "a", "bob": "b"})
    backend.users.add(User("root", "r", frozenset(("master",))))
    return backend


@pytest.fixture
async def address(backend: DictBackend) -> AsyncIterator[tuple[str, int]]:
    chosen = ExtensionConfig(admin_contact="mailto:postmaster@example.com")
    authenticator = Authenticator(backend.users, AuthConfig(masters=frozenset(("bob",))))
    async with serve(backend, authenticator=authenticator, extensions=chosen) as server:
        yield server.addresses[0]


@asynccontextmanager
async def logged_in(address: tuple[str, int], login: bytes) -> AsyncIterator[Client]:
    client = await Client.connect(address)
    try:
        await client.ok(b"LOGIN " + login)
        yield client
    finally:
        await client.close()


async def metadata(client: Client, command: bytes) -> list[bytes]:
    told = await client.ok(command)
    return [line.rstrip() for line in told if line.startswith(b"* METADATA")]


async def test_masters_say_what_the_server_tells_all(address: tuple[str, int]) -> None:
    change = b'SETMETADATA "" (/shared/comment "%b")'
    asked = b'GETMETADATA "" /shared/comment'
    for n, login in enumerate(
        (b"root r", b"bob b", b'"alice*root" r')
    ):  # by role, by name, acting for a user
        async with logged_in(address, login) as client:
            await client.ok(change % (b"%d" % n))
            async with logged_in(address, b"alice a") as other:
                told = b'* METADATA "" (/shared/comment "%d")' % n
                assert await metadata(other, asked) == [told]
                refused = await other.command(change % b"mine")
                assert b" NO [NOPERM]" in refused.tagged
                refused = await other.command(b'SETMETADATA "" (/shared/comment NIL)')
                assert b" NO [NOPERM]" in refused.tagged
                assert await metadata(other, asked) == [told]


async def test_the_contact_is_told_and_nobody_changes_it(address: tuple[str, int]) -> None:
    async with logged_in(address, b"root r") as client:
        told = [b'* METADATA "" (/shared/admin "mailto:postmaster@example.com")']
        assert await metadata(client, b'GETMETADATA "" /shared/admin') == told
        refused = await client.command(b'SETMETADATA "" (/shared/ADMIN "mailto:me@example.com")')
        assert b" NO [NOPERM]" in refused.tagged
        assert await metadata(client, b'GETMETADATA "" (DEPTH 1) /shared') == told


async def test_what_is_private_is_seen_by_its_user_alone(address: tuple[str, int]) -> None:
    names = b'"" (/private/comment /shared/comment)'
    async with logged_in(address, b"alice a") as alice, logged_in(address, b"bob b") as bob:
        await alice.ok(b'SETMETADATA "" (/private/comment "of alice")')
        await bob.ok(b'SETMETADATA "" (/private/comment "of bob" /shared/comment "of all")')
        assert await metadata(alice, b"GETMETADATA " + names) == [
            b'* METADATA "" (/private/comment "of alice" /shared/comment "of all")'
        ]
        assert await metadata(bob, b"GETMETADATA " + names) == [
            b'* METADATA "" (/private/comment "of bob" /shared/comment "of all")'
        ]
        # Whoever comes next on the connection is somebody else.   RFC 8437 4
        await alice.ok(b"UNAUTHENTICATE")
        await alice.ok(b"LOGIN root r")
        assert await metadata(alice, b"GETMETADATA " + names) == [
            b'* METADATA "" (/private/comment NIL /shared/comment "of all")'
        ]


async def test_a_private_filter_hides_the_shared_one(address: tuple[str, int]) -> None:
    async with logged_in(address, b"bob b") as bob, logged_in(address, b"alice a") as alice:
        await bob.ok(b'SETMETADATA "" (/shared/filters/values/x "ALL")')
        for client in (alice, bob):
            await client.append(b"a: b\r\n\r\n")
            await client.ok(b"SELECT INBOX")
        await alice.ok(b'SETMETADATA "" (/private/filters/values/x "SEEN")')
        assert b"* SEARCH\r\n" in await alice.ok(b"SEARCH FILTER x")
        assert b"* SEARCH 1\r\n" in await bob.ok(b"SEARCH FILTER x")
        await alice.ok(b'SETMETADATA "" (/private/filters/values/x NIL)')
        assert b"* SEARCH 1\r\n" in await alice.ok(b"SEARCH FILTER x")


async def test_a_filter_is_what_search_would_take(
    address: tuple[str, int], backend: DictBackend
) -> None:
    """RFC 5466 3.1, 3.2"""
    change = b'SETMETADATA "" (/private/filters/values/x "X-GM-RAW hello")'
    async with (
        serve(backend, extensions=ExtensionConfig(gmail=True)) as server,
        logged_in(server.addresses[0], b"alice a") as client,
    ):
        await client.ok(change)
        await client.ok(b"SELECT INBOX")
        assert b"* SEARCH\r\n" in await client.ok(b"SEARCH FILTER x")
    async with logged_in(address, b"alice a") as client:
        await client.ok(b"SELECT INBOX")
        refused = await client.command(b"SEARCH FILTER x")
        assert b" NO [UNDEFINED-FILTER x]" in refused.tagged
        assert b" NO [CANNOT]" in (await client.command(change)).tagged


async def test_all_or_none_of_what_is_private_and_shared(
    address: tuple[str, int], backend: DictBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are kept in two places."""

    async def away(*_: object) -> bool:
        raise Unavailable

    async with logged_in(address, b"root r") as client:
        await client.ok(b'SETMETADATA "" (/private/a "old")')
        monkeypatch.setattr(backend.properties("server"), "write", away)
        refused = await client.command(
            b'SETMETADATA "" (/private/a "new" /private/b "new" /shared/a "new")'
        )
        assert b" NO [UNAVAILABLE]" in refused.tagged
        assert await metadata(client, b'GETMETADATA "" (/private/a /private/b)') == [
            b'* METADATA "" (/private/a "old" /private/b NIL)'
        ]


async def test_a_store_without_properties_offers_none_of_it() -> None:
    class Without(DictBackend):
        def properties(self, scope: str) -> None:  # type: ignore[override]
            return None

    async with (
        serve(Without({"alice": "a"})) as server,
        logged_in(server.addresses[0], b"alice a") as client,
    ):
        told = b" ".join(await client.ok(b"CAPABILITY"))
        for name in (b"METADATA", b"LIST-METADATA", b"FILTERS"):
            assert name not in told
        await client.append(b"a: b\r\n\r\n")
        await client.ok(b"SELECT INBOX")
        for command in (
            b"GETMETADATA INBOX /private/comment",
            b'SETMETADATA INBOX (/private/comment "x")',
            b'LIST "" % RETURN (METADATA /private/comment)',
            b"SEARCH FILTER x",
        ):
            assert b" BAD " in (await client.command(command)).tagged


async def test_lists_tell_what_can_be_told(
    address: tuple[str, int], backend: DictBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be looked up is left out; LIST goes on.   RFC 9590 3"""

    async def away() -> bool:
        raise Unavailable

    async with logged_in(address, b"alice a") as client:
        await client.ok(b"CREATE other")
        inbox = await backend.account_of("alice").open("INBOX")
        monkeypatch.setattr(inbox.properties, "read", away)
        told = await client.ok(b'LIST "" % RETURN (METADATA (/private/comment))')
        assert [line.split()[1:3] for line in told] == [
            [b"LIST", b"()"],
            [b"LIST", b"()"],
            [b"METADATA", b"other"],
        ]


# -- the model --


@pytest.fixture
async def properties(backend: DictBackend) -> Properties:
    return (await backend.account_of("alice").open("INBOX")).properties


@pytest.mark.parametrize(
    "user", ["a", "a/b", "a%2Fb", "..", "../shared", "", "shared", "\x00", "\u00e9", "A", "\ud800"]
)
async def test_users_never_meet(properties: Properties, user: str) -> None:
    users = ["a", "a/b", "a%2Fb", "..", "../shared", "", "shared", "\x00", "\u00e9", "A", "\ud800"]
    for n, other in enumerate(users):
        await write(properties, {"/private/x": b"%d" % n}, other, LIMITS)
    await write(properties, {"/shared/x": b"all"}, user, LIMITS)
    assert await read_both(properties, user) == {
        "/private/x": b"%d" % users.index(user), "/shared/x": b"all",
    }  # fmt: skip
    for key in await properties.read():
        assert key.isascii()
        assert key.isprintable()


async def test_bounds_are_those_of_one_user(properties: Properties) -> None:
    limits = Limits(metadata_entries=2, metadata_total=10)
    for user in ("alice", "bob"):
        await write(properties, {"/private/a": b"12345", "/private/b": b"12345"}, user, limits)
    await write(properties, {"/shared/a": b"12345", "/shared/b": b"12345"}, "bob", limits)
    with pytest.raises(Refused, match="Too many"):
        await write(properties, {"/private/c": b""}, "alice", limits)
    with pytest.raises(Refused, match="Too many"):
        await write(properties, {"/shared/c": b""}, "alice", limits)
    with pytest.raises(Refused, match="too large"):
        await write(properties, {"/private/a": b"123456"}, "alice", limits)
    # Whoever has too much may still remove and replace.
    less = Limits(metadata_entries=1, metadata_total=5)
    await write(properties, {"/private/a": b"54321"}, "alice", less)
    await write(properties, {"/private/c": b"1", "/private/a": None}, "alice", less)
    assert await read(properties, "private", "alice") == {
        "/private/b": b"12345", "/private/c": b"1",
    }  # fmt: skip


async def test_many_users_fill_one_mailbox_no_further(properties: Properties) -> None:
    limits = Limits(metadata_entries=2, metadata_total=10)
    one, two = {"/private/a": b""}, {"/private/a": b"", "/private/b": b""}
    for n in range(USERS - 1):
        await write(properties, two, str(n), limits)
    await write(properties, one, "alice", limits)
    await write(properties, one, "bob", limits)
    for values in (one, {"/shared/a": b""}):
        with pytest.raises(Refused, match="Too many"):
            await write(properties, values, "carol", limits)
    for n in range(USERS - 1):
        await write(properties, {"/private/a": b"1234567890", "/private/b": None}, str(n), limits)
    await write(properties, {"/private/a": b"12345"}, "alice", limits)
    with pytest.raises(Refused) as refused:
        await write(properties, {"/private/a": b"123456"}, "bob", limits)
    assert refused.value.code == "METADATA MAXSIZE 5"
    await write(properties, {"/private/a": b"12345"}, "bob", limits)
    await write(properties, {"/private/a": b"0987654321"}, "1", limits)


async def test_nothing_of_what_is_kept_is_trusted(properties: Properties) -> None:
    await properties.write({"metadata": b"a" * 5000})
    await write(properties, {"/private/x": b"1"}, "alice", LIMITS)
    assert await read(properties, "private", "alice") == {"/private/x": b"1"}


async def test_bounds_hold_for_many_at_once(properties: Properties) -> None:
    limits = Limits(metadata_entries=10)

    async def add(n: int) -> bool:
        try:
            await write(WithoutSpeed(properties), {f"/private/{n}": b""}, "alice", limits)
        except Refused:
            return False
        return True

    assert sum(await asyncio.gather(*map(add, range(30)))) == 10
    assert len(await read(properties, "private", "alice")) == 10


class WithoutSpeed(Properties):
    """Others come in between."""

    def __init__(self, properties: Properties) -> None:
        self.properties = properties

    async def read(self):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0)
        return await self.properties.read()

    async def write(self, changes, expected=None):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0)
        return await self.properties.write(changes, expected)


async def test_a_name_that_no_store_takes_is_refused(properties: Properties) -> None:
    with pytest.raises(Refused, match="too long"):
        await write(properties, {"/private/" + "x" * 250: b""}, "\u00e9" * 400, LIMITS)


async def test_copies_are_of_all_users_and_nothing_else(backend: DictBackend) -> None:
    account = backend.account_of("alice")
    inbox, other = await account.open("INBOX"), await account.create("Other")
    await inbox.properties.write({"acl/alice": b"lr"})
    await write(inbox.properties, {"/private/x": b"1", "/shared/x": b"2"}, "alice", LIMITS)
    await write(inbox.properties, {"/private/x": b"3"}, "bob", LIMITS)
    await copy_all(inbox, WithoutIndex(other))
    assert await read_both(other.properties, "alice") == {"/private/x": b"1", "/shared/x": b"2"}
    assert await read_both(other.properties, "bob") == {"/private/x": b"3", "/shared/x": b"2"}
    assert "acl/alice" not in await other.properties.read()
