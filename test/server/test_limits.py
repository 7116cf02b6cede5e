"""Each field of Limits, hit through the socket: what is at the limit passes, what is over it is
refused, and the session goes on wherever it can."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path

import pytest
from maildir_store import maildir_of

from pymap.backend.dict import DictBackend
from pymap.imap.server import serve
from pymap.limits import Limits

from .client import Client
from .conftest import Connect, Spawn

BYE, BAD, NO_LIMIT, NO_TOOBIG = b"* BYE", b"BAD", b"NO [LIMIT]", b"NO [TOOBIG]"
MESSAGE = b"x: y\r\n\r\nz"


def literal(size: int) -> bytes:
    return b"{%d+}\r\n" % size + b"x" * size


# field: its value here, before login or selected, what passes, what does not, the answer to it
CASES: dict[str, tuple[int, bool, bytes, bytes, bytes]] = {
    "line": (5000, True, b"SEARCH TEXT " + b"x" * 4980, b"SEARCH TEXT " + b"x" * 5000, BYE),
    "line_before_login": (200, False, b"LOGIN a " + b"x" * 180, b"LOGIN a " + b"x" * 200, BYE),
    "literal": (3000, True, b"SEARCH TEXT " + literal(3000), b"SEARCH TEXT " + literal(3001), BAD),
    "literal_before_login": (100, False, b"LOGIN a " + literal(100), b"LOGIN a " + literal(101), BYE),
    "literals": (5, True, b"SEARCH" + (b" TEXT " + literal(1)) * 5, b"SEARCH" + (b" TEXT " + literal(1)) * 6, BAD),
    "literals_total": (900, True, b"SEARCH" + (b" TEXT " + literal(300)) * 3, b"SEARCH" + (b" TEXT " + literal(300)) * 4, BAD),
    "append": (2000, True, b"APPEND INBOX " + literal(2000), b"APPEND INBOX " + literal(2001), NO_TOOBIG),
    "append_total": (2000, True, b"APPEND INBOX" + (b" " + literal(1000)) * 2, b"APPEND INBOX" + (b" " + literal(1000)) * 3, NO_TOOBIG),
    "append_messages": (4, True, b"APPEND INBOX" + (b" " + literal(1)) * 4, b"APPEND INBOX" + (b" " + literal(1)) * 5, NO_LIMIT),
    "urls": (3, True, b"APPEND INBOX CATENATE (TEXT " + literal(1) + b" URL ;UID=1" * 3 + b")", b"APPEND INBOX CATENATE (" + b"URL x " * 3 + b"URL x)", NO_LIMIT),
    "search_keys": (6, True, b"SEARCH" + b" ALL" * 6, b"SEARCH" + b" ALL" * 7, NO_LIMIT),
    "search_depth": (5, True, b"SEARCH " + b"NOT " * 5 + b"ALL", b"SEARCH " + b"(" * 6 + b"ALL" + b")" * 6, NO_LIMIT),
    "fetch_items": (5, True, b"FETCH 1 BODY.PEEK[HEADER.FIELDS (a b c d)]", b"FETCH 1 (BODY.PEEK[HEADER.FIELDS (a b c d e)])", BAD),
    "list_patterns": (3, True, b'LIST "" (a b c)', b'LIST "" (a b c d)', BAD),
    "mailbox_name": (30, True, b"CREATE " + b"n" * 30, b"CREATE " + b"n" * 31, NO_LIMIT),
    "metadata_entries": (2, True, b'SETMETADATA INBOX (/private/a "1" /shared/a "1")', b'SETMETADATA INBOX (/private/a "1" /private/b "2" /private/c "3")', b"NO [METADATA TOOMANY]"),
    "metadata_value": (5, True, b'SETMETADATA INBOX (/private/a "12345")', b'SETMETADATA INBOX (/private/a "123456")', b"NO [METADATA MAXSIZE 5]"),
    "metadata_total": (5, True, b'SETMETADATA INBOX (/private/a "12345")', b'SETMETADATA INBOX (/private/b "6")', b"NO [METADATA MAXSIZE 0]"),
    "metadata_name": (10, True, b"GETMETADATA INBOX /private/a", b"GETMETADATA INBOX /private/bc", NO_LIMIT),
    "flags": (4, True, b"STORE 1 FLAGS (a b c d)", b"STORE 1 FLAGS (a b c d e)", BAD),
}  # fmt: skip

ELSEWHERE = {
    "acl_identifiers": "imap/test_sharing.py",
    "acl_owners": "imap/test_sharing.py",
    "contexts": "imap/test_contexts.py",
    "context_results": "imap/test_contexts.py",
    "mailboxes": "test_mailboxes",
    "keywords": "test_keywords",
    "bad_commands": "test_timeouts.py",
    "failed_logins": "test_timeouts.py",
    "login_timeout_s": "test_timeouts.py",
    "idle_timeout_s": "test_timeouts.py",
    "write_timeout_s": "test_slow_reader.py",
    "receive_buffer": "test_receive_buffer",
    "summaries": "test/backend/test_summaries.py",
    "connections": "test_connections.py",
    "connections_before_login": "test_connections.py",
}


def test_every_field_is_hit() -> None:
    # A new field needs a case here, or a test of its own that names it.
    fields = {field.name for field in dataclasses.fields(Limits)}
    new = fields - CASES.keys() - ELSEWHERE.keys()
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert {name for name in new if f"Limits({name}=" not in sources} == set()
    assert (CASES.keys() | ELSEWHERE.keys()) <= fields


@pytest.mark.parametrize("field", CASES)
async def test_limit(imap_server, connect: Connect, field: str) -> None:
    value, selected, passes, over, answer = CASES[field]
    server = await imap_server(limits=Limits(**{field: value}))
    client = await connect(server)
    if selected:
        await client.login()
        await client.append(MESSAGE)
        await client.ok(b"SELECT INBOX")
    tagged = (await client.command(passes)).tagged
    assert re.match(rb"t\d+ OK" if selected else rb"t\d+ NO \[AUTHENTICATIONFAILED\]", tagged), (
        tagged
    )
    client.send(b"over " + over + b"\r\n")
    if answer == BYE:
        assert (await client.rest())[-1].startswith(BYE)
    else:
        assert (await client.until(b"over")).tagged.startswith(b"over " + answer)
        await client.ok(b"NOOP")  # the stream is where it should be
        if selected:
            assert (await client.command(passes)).condition in (b"OK", b"NO")


@pytest.mark.parametrize("field", ["literal", "literal_before_login", "append"])
async def test_over_limit_and_synchronizing_is_refused_unsent(
    imap_server, connect: Connect, field: str
) -> None:
    value, selected, _, over, answer = CASES[field]
    client = await connect(await imap_server(limits=Limits(**{field: value})))
    if selected:
        await client.login(b"INBOX")
    found = await client.command(over.partition(b"+}")[0] + b"}")
    assert found.untagged == []
    assert found.tagged.partition(b" ")[2].startswith(BAD if answer == BYE else answer)
    await client.ok(b"NOOP")


async def test_search_depth_of_each_kind(imap_server, connect: Connect) -> None:
    client = await connect(await imap_server(limits=Limits(search_depth=5)))
    await client.login(b"INBOX")
    for nested in (
        b"NOT " * 6 + b"ALL",
        b"OR ALL " * 6 + b"ALL",
        b"(" * 6 + b"ALL" + b")" * 6,
        b"NOT (OR ALL " * 2 + b"NOT (ALL" + b")" * 3,
    ):
        assert b"NO [LIMIT]" in (await client.command(b"SEARCH " + nested)).tagged


@pytest.mark.parametrize("store", ["dict", "maildir"])
async def test_mailboxes(store: str, tmp_path: Path) -> None:
    """A bound of the store: the backend has its own Limits."""
    limits = Limits(mailboxes=5)
    local = DictBackend({"demouser": "demopass"}, limits)
    backend = local if store == "dict" else maildir_of(local, tmp_path, limits)
    async with serve(backend, limits=limits) as server:
        client = await (await Client.connect(server.addresses[0])).login()
        for n in range(4):
            await client.ok(b"CREATE m%d" % n)
        assert b"NO [LIMIT]" in (await client.command(b"CREATE m4")).tagged
        assert b"NO [LIMIT]" in (await client.command(b"RENAME INBOX m4")).tagged
        for name in (b"m3", b"inbox"):  # there it is, room or not
            assert b"NO [ALREADYEXISTS]" in (await client.command(b"CREATE " + name)).tagged
        for n in range(5):
            await client.ok(b"SUBSCRIBE m%d" % n)
        assert b"NO [LIMIT]" in (await client.command(b"SUBSCRIBE x")).tagged
        await client.ok(b"DELETE m0")
        await client.ok(b"CREATE m4")
        await client.close()


async def test_keywords() -> None:
    limits = Limits(keywords=3)
    async with serve(DictBackend({"demouser": "demopass"}, limits), limits=limits) as server:
        client = await (await Client.connect(server.addresses[0])).login()
        await client.append(MESSAGE)
        await client.ok(b"SELECT INBOX")
        await client.ok(b"STORE 1 +FLAGS (a b c \\Seen)")
        assert b"NO [LIMIT]" in (await client.command(b"STORE 1 +FLAGS (d)")).tagged
        assert b"NO [LIMIT]" in (await client.command(b"APPEND INBOX (e) {1+}\r\nx")).tagged
        assert b"NO [LIMIT]" in (await client.command(b"STORE 1 FLAGS (a f)")).tagged
        await client.ok(b"CREATE other")
        other = await (await Client.connect(server.addresses[0])).login(b"other")
        await other.append(MESSAGE, b"other")
        await other.ok(b"NOOP")
        await other.ok(b"STORE 1 FLAGS (g)")
        assert b"NO [LIMIT]" in (await client.command(b"COPY 1 other")).tagged
        await client.ok(b"STORE 1 -FLAGS (nonsense)")  # removing makes no keyword
        assert b"(\\Seen a b c" in (await client.ok(b"FETCH 1 FLAGS"))[0]
        await client.close()
        await other.close()


async def test_receive_buffer(imap_server, connect: Connect) -> None:
    """What comes behind a command that runs waits in the network, not in memory."""
    server = await imap_server(limits=Limits(receive_buffer=10_000))
    client = await (await connect(server)).login()
    await client.append(b"x: y\r\n\r\n" + b"0123456789abcde\n" * 500_000)
    await client.ok(b"SELECT INBOX")
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    await client.line()
    (inside,) = server.clients
    client.send(b"b NOOP\r\n" * 100_000)
    for _ in range(200):
        await asyncio.sleep(0)
    assert inside.connection.framer.waiting < 10_000 + 2 * 65_536
    await client.swallow(b"a")
    noops = 0
    while noops < 100_000:
        noops += (await client.line()).startswith(b"b OK")


# -- what has no limit of its own must be bounded by others --


@pytest.mark.parametrize("size", [10_000, 900_000])
async def test_long_keywords(imap_server, connect: Connect, size: int) -> None:
    """A keyword is sent to every client and kept for good: it has a sensible length."""
    client = await (await connect(await imap_server())).login()
    await client.append(MESSAGE)
    await client.ok(b"SELECT INBOX")
    answer = await client.command(b"STORE 1 +FLAGS (" + b"k" * size + b")")
    assert answer.condition in (b"BAD", b"NO")


async def test_keyword() -> None:
    limits = Limits(keyword=5)
    async with serve(DictBackend({"demouser": "demopass"}), limits=limits) as server:
        client = await (await Client.connect(server.addresses[0])).login()
        await client.append(MESSAGE)
        await client.ok(b"SELECT INBOX")
        await client.ok(b"STORE 1 +FLAGS (12345)")
        assert b"NO [LIMIT]" in (await client.command(b"STORE 1 +FLAGS (123456)")).tagged
        assert b"NO [LIMIT]" in (await client.command(b"APPEND INBOX (123456) {1+}\r\nx")).tagged
        await client.close()


async def test_mailbox_levels() -> None:
    limits = Limits(mailbox_levels=3)
    async with serve(DictBackend({"demouser": "demopass"}), limits=limits) as server:
        client = await (await Client.connect(server.addresses[0])).login()
        await client.ok(b"CREATE a/b/c")
        assert b"NO [LIMIT]" in (await client.command(b"CREATE a/b/c/d")).tagged
        assert b"NO [LIMIT]" in (await client.command(b"RENAME a/b/c a/b/c/d")).tagged
        await client.close()


async def test_flag_sets_that_nobody_uses_any_more_are_forgotten(
    spawn: Spawn, connect: Connect
) -> None:
    """190 keywords of 250 octets; 380 different sets of them, one after the other on one message."""
    process = await spawn()
    client = await (await connect(process)).login()
    await client.append(MESSAGE)
    await client.ok(b"SELECT INBOX")
    keywords = [b"%03d" % n + b"k" * 247 for n in range(190)]
    await client.ok(b"STORE 1 +FLAGS.SILENT (" + b" ".join(keywords) + b")")
    before = process.memory
    for n in range(600):
        sign = b"-" if n // 190 % 2 == 0 else b"+"
        await client.ok(b"STORE 1 " + sign + b"FLAGS.SILENT (" + keywords[n % 190] + b")")
    grown = process.memory - before
    print(f"600 STOREs of 250 octets with 380 different sets: {grown // 1024} KiB")
    assert grown < 4 << 20


async def test_many_status_of_one_command_are_bounded(imap_server, connect: Connect) -> None:
    client = await (await connect(await imap_server())).login()
    assert (
        await client.command(b"STATUS INBOX (" + b" ".join([b"MESSAGES"] * 100) + b")")
    ).condition == b"BAD"
    assert (await client.command(b"ENABLE" + b" X" * 100_000)).condition == b"OK"
    assert (await client.command(b"ID (" + b' "a" "b"' * 31 + b")")).condition == b"BAD"
