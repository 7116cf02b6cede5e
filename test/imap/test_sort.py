"""SORT over a real server against a slow model that knows how each mail was made: two sessions
append, expunge and sort in any order, and what was remembered of mail never makes an answer wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from functools import cmp_to_key
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maildir_store import maildir_of
from remote_store import RemoteBackend

from pymap.backend.api import Backend
from pymap.backend.dict import DictBackend
from pymap.imap.server import Server, serve
from pymap.imap.sort import MANY

STORES: dict[str, Callable[[DictBackend, Path], Backend]] = {
    "dict": lambda local, directory: local,
    "remote": lambda local, directory: RemoteBackend(local),
    "maildir": maildir_of,
}
NOW = 978_307_200  # 1 Jan 2001


class Mail(NamedTuple):
    """Small choices, so that ties are common; None is a field that is not there."""

    mark: str
    subject: str | None
    sender: str | None
    to: str | None
    cc: str | None
    sent: int | None
    zone: int
    received: int
    size: int

    def octets(self) -> bytes:
        lines = []
        if self.subject is not None:
            lines.append(f"Subject: {self.mark.format(self.subject)}")
        for name, value in (("From", self.sender), ("To", self.to), ("Cc", self.cc)):
            if value is not None:
                lines.append(f"{name}: {NAMES[value]}<{value}@example.org>, x@y")
        if self.sent is not None:
            zone = timezone(timedelta(hours=self.zone))
            lines.append(f"Date: {format_datetime(datetime.fromtimestamp(NOW + self.sent, zone))}")
        header = "\r\n".join([*lines, "", ""])
        return (header + "x" * (1000 * self.size - len(header))).encode()

    def value(self, key: str) -> object:
        """What SORT compares.   RFC 5256 3, RFC 5957 3"""
        match key:
            case "ARRIVAL":
                return self.received
            case "DATE":
                return self.received if self.sent is None else self.sent
            case "SIZE":
                return self.size
            case "SUBJECT":
                return (self.subject or "").upper()
            case "CC":
                return (self.cc or "").upper()
            case "FROM" | "DISPLAYFROM":
                address = self.sender
            case "TO" | "DISPLAYTO":
                address = self.to
        if address is None:
            return ""
        shown = NAMES[address] or f"{address}@example.org"
        return (shown if key.startswith("DISPLAY") else address).strip().upper()


NAMES = {"ann": "Zoe ", "BOB": "", "bob": "", "carl": "adam "}
KEYS = ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO")
addresses = st.none() | st.sampled_from(sorted(NAMES))
mails = st.builds(
    Mail,
    mark=st.sampled_from(["{}", "Re: {}", "[list] {}", "=?utf-8?q?{}?=", "[fwd: {} (fwd)]"]),
    subject=st.none() | st.sampled_from(["a", "A", "b", "ab"]),
    sender=addresses,
    to=addresses,
    cc=addresses,
    sent=st.none() | st.integers(0, 3),
    zone=st.integers(-12, 12),
    received=st.integers(0, 3),
    size=st.integers(1, 3),
)
criteria = st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), min_size=1, max_size=3)
who = st.integers(0, 1)
steps = st.lists(
    st.tuples(st.just("append"), who, st.lists(mails, min_size=1, max_size=4))
    | st.tuples(st.just("expunge"), who, st.sets(st.integers(1, 20), min_size=1, max_size=3))
    | st.tuples(st.sampled_from(["sort", "uid sort", "threads"]), who, criteria)
    | st.tuples(st.just("noop"), who, st.none()),
    min_size=4,
    max_size=16,
)


def in_order(uids: Sequence[int], mail: dict[int, Mail], keys: list[tuple[str, bool]]) -> list[int]:
    def compare(one: int, other: int) -> int:
        for key, reverse in keys:
            a, b = mail[one].value(key), mail[other].value(key)
            if a != b:
                return -1 if (a < b) != reverse else 1  # type: ignore[operator]
        return one - other

    return sorted(uids, key=cmp_to_key(compare))


def by_subject(uids: Sequence[int], mail: dict[int, Mail]) -> str:
    """ORDEREDSUBJECT."""
    threads: dict[object, list[int]] = {}
    for uid in in_order(uids, mail, [("DATE", False)]):
        threads.setdefault(mail[uid].value("SUBJECT"), []).append(uid)
    text = ""
    for first, *rest in threads.values():
        below = "".join(f"({uid})" for uid in rest) if len(rest) > 1 else "".join(map(str, rest))
        text += f"({first} {below})" if rest else f"({first})"
    return text


class Client:
    """A session, and the UIDs of the messages that it knows of, by number."""

    def __init__(self, mail: dict[int, Mail]) -> None:
        self.mail = mail  # what there is, shared by all
        self.uids: list[int] = []

    async def connect(self, address: tuple[str, int]) -> None:
        self.reader, self.writer = await asyncio.open_connection(*address, limit=1 << 24)
        await self.reader.readline()
        await self.command("LOGIN demouser demopass")
        await self.command("SELECT INBOX")

    async def command(self, line: str, literals: bytes = b"") -> list[str]:
        """The words of the untagged SORT, ESEARCH or THREAD."""
        self.writer.write(b"t %b%b\r\n" % (line.encode(), literals))
        found: list[str] = []
        while True:
            words = (await self.reader.readline()).decode().split()
            if words[0] == "t":
                assert words[1] == "OK", (line, words)
                return found
            if words[1] in ("SORT", "ESEARCH", "THREAD"):
                found = words[2:]
            elif words[-1] == "EXPUNGE":
                assert not line.startswith(("SORT", "THREAD")), line
                del self.uids[int(words[1]) - 1]
            elif words[-1] == "EXISTS":
                last = max(self.uids, default=0)
                self.uids += [uid for uid in sorted(self.mail) if uid > last]
                assert len(self.uids) == int(words[1])

    def known(self) -> list[int]:
        """What a SORT now is about: what it was told of and still is there."""
        return [uid for uid in self.uids if uid in self.mail]

    def numbers(self, uids: Sequence[int]) -> list[str]:
        return [str(self.uids.index(uid) + 1) for uid in uids]

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def two_clients(server: Server, mail: dict[int, Mail]) -> AsyncIterator[list[Client]]:
    clients = [Client(mail), Client(mail)]
    async with AsyncExitStack() as stack:
        for client in clients:
            await client.connect(server.addresses[0])
            stack.push_async_callback(client.close)
        yield clients


async def play(
    clients: list[Client], mail: dict[int, Mail], script: list[tuple[str, int, object]]
) -> None:
    uid_next = 1
    for action, number, what in script:
        client = clients[number]
        match action, what:
            case "append", list(new):
                mail.update(enumerate(new, uid_next))
                uid_next += len(new)
                await append(client, new)
            case "expunge", set(uids):
                text = ",".join(map(str, uids))
                await client.command("NOOP")
                await client.command(f"UID STORE {text} +FLAGS.SILENT (\\Deleted)")
                for uid in uids:
                    mail.pop(uid, None)
                await client.command(f"UID EXPUNGE {text}")
            case "sort", list(keys):
                numbers = client.numbers(in_order(client.known(), mail, keys))
                assert await client.command(f"SORT ({words(keys)}) UTF-8 ALL") == numbers
                numbers = client.numbers(in_order(client.known(), mail, keys))  # it told of EXISTS
                found = await client.command(
                    f"SORT RETURN (MIN MAX COUNT) ({words(keys)}) UTF-8 ALL"
                )
                ends = ["MIN", numbers[0], "MAX", numbers[-1]] if numbers else []
                assert found[2:] == [*ends, "COUNT", str(len(numbers))]
            case "uid sort", list(keys):
                await client.command("NOOP")
                wanted = in_order(sorted(mail), mail, keys)
                found = await client.command(f"UID SORT ({words(keys)}) UTF-8 ALL")
                assert found == list(map(str, wanted))
            case "threads", _:
                await client.command("NOOP")
                threads = await client.command("UID THREAD ORDEREDSUBJECT UTF-8 ALL")
                assert " ".join(threads) == by_subject(sorted(mail), mail)
            case _:
                await client.command("NOOP")
                assert client.uids == sorted(mail)


def words(keys: list[tuple[str, bool]]) -> str:
    return " ".join("REVERSE " * reverse + key for key, reverse in keys)


async def append(client: Client, mails: Sequence[Mail]) -> None:
    """All at once.   RFC 3502"""
    literals = []
    for mail in mails:
        when, octets = datetime.fromtimestamp(NOW + mail.received, UTC), mail.octets()
        head = f' "{when:%d-%b-%Y %H:%M:%S} +0000" {{{len(octets)}+}}\r\n'
        literals.append(head.encode() + octets)
    await client.command("APPEND INBOX", b"".join(literals))


@pytest.mark.parametrize("store", STORES)
@settings(max_examples=50, deadline=None)
@given(steps)
def test_sort_is_what_a_slow_model_says(store: str, script: list[tuple[str, int, object]]) -> None:
    async def run(directory: str) -> None:
        backend = STORES[store](DictBackend({"demouser": "demopass"}), Path(directory))
        mail: dict[int, Mail] = {}
        async with (
            asyncio.timeout(30),
            serve(backend) as server,
            two_clients(server, mail) as clients,
        ):
            await play(clients, mail, script)

    with TemporaryDirectory() as directory:
        asyncio.run(run(directory))


async def test_many_messages(imap_server: Callable[..., Awaitable[Server]]) -> None:
    """As many as are sorted beside the event loop, while another session expunges some."""
    server = await imap_server()
    n = MANY + 100
    mail: dict[int, Mail] = {}
    keys = [("SUBJECT", True), ("DATE", False)]
    async with two_clients(server, mail) as (one, other):
        for start in range(1, n + 1, 1000):
            some = {
                uid: Mail("{}", "abc"[uid % 3], None, None, None, uid * 7919 % 1000, 0, 0, 1)
                for uid in range(start, min(start + 1000, n + 1))
            }
            mail |= some
            await append(other, [*some.values()])
        wanted = in_order(sorted(mail), mail, keys)
        await one.command("NOOP")
        assert await one.command(f"UID SORT ({words(keys)}) UTF-8 ALL") == list(map(str, wanted))
        await other.command("UID STORE 100:5000 +FLAGS.SILENT (\\Deleted)")
        asked = asyncio.create_task(one.command(f"SORT ({words(keys)}) UTF-8 ALL"))
        await other.command("UID EXPUNGE 100:5000")
        found = [int(word) for word in await asked]
        # All of one moment: before or after.
        assert found in (wanted, [uid for uid in wanted if not 100 <= uid <= 5000])
