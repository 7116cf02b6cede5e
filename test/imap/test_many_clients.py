"""Several clients at once on the same mailboxes, over a store whose every call waits: at every
moment each client's numbers mean what the server means, and in the end all agree with the store.

The choices are random, from a seed that the test's name tells.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable

import pytest

from pymap.imap.server import Server
from pymap.wire.types import UidSet

MESSAGE = b"Subject: %d\r\n\r\nbody\r\n"
FETCHED = re.compile(rb"\* (\d+) FETCH \((.*)\)")
UID = re.compile(rb"UID (\d+)")
FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")


class Client:
    """What a client believes: UIDs by number (None until it has asked), flags by UID."""

    def __init__(self, name: int, seed: int) -> None:
        self.name = name
        self.random = random.Random(seed * 100 + name)
        self.uids: list[int | None] = []
        self.flags: dict[int, set[bytes]] = {}
        self.done: set[bytes] = set()

    async def connect(self, address: tuple[str, int]) -> None:
        self.reader, self.writer = await asyncio.open_connection(*address)
        await self.reader.readline()
        await self.command(b"LOGIN demouser demopass")
        if self.name % 2:
            await self.command(b"ENABLE QRESYNC")
        assert await self.command(b"SELECT INBOX") == b"OK"
        await self.ask_uids()

    async def command(self, line: bytes, may_expunge: bool = True) -> bytes:
        self.writer.write(b"t " + line + b"\r\n")
        while True:
            answer = (await self.reader.readline()).rstrip(b"\r\n")
            if answer.startswith(b"t "):
                return answer.split(b" ", 2)[1]
            self.hear(answer, may_expunge)

    def hear(self, answer: bytes, may_expunge: bool) -> None:
        words = answer.split(b" ")
        if words[-1] == b"EXPUNGE":
            assert may_expunge, answer
            del self.uids[int(words[1]) - 1]
        elif words[1] == b"VANISHED":
            assert may_expunge, answer
            gone = {
                uid
                for part in words[-1].split(b",")
                for first, _, last in [part.partition(b":")]
                for uid in range(int(first), int(last or first) + 1)
            }
            # Some it may know by EXISTS only, as the last of its numbers, or it has just asked for
            # all and they did not answer.
            unknown = len(gone - set(self.uids))
            self.uids = [uid for uid in self.uids if uid not in gone]
            asked = unknown == self.uids.count(None)
            for _ in range(unknown):
                last = max(at for at, uid in enumerate(self.uids) if uid is None)
                assert asked or last == len(self.uids) - 1, answer
                del self.uids[last]
        elif words[-1] == b"EXISTS":
            count = int(words[1])
            assert count >= len(self.uids), answer
            self.uids += [None] * (count - len(self.uids))
        elif found := FETCHED.match(answer):
            number = int(found[1])
            assert number <= len(self.uids), answer
            if uid := UID.search(found[2]):
                known = self.uids[number - 1]
                assert known in (None, int(uid[1])), (answer, self.uids)
                self.uids[number - 1] = int(uid[1])
            if flags := FLAGS.search(found[2]):
                known = self.uids[number - 1]
                if known is not None:
                    self.flags[known] = set(flags[1].split()) - {b"\\Recent"}

    async def ask_uids(self) -> None:
        while None in self.uids:
            assert await self.command(b"UID FETCH 1:* (FLAGS)") == b"OK"

    async def act(self, serial: int) -> None:
        if self.name % 2:
            await self.ask_uids()  # VANISHED is about UIDs, so they have to be known
        choice = self.random.random()
        number = self.random.randint(1, len(self.uids)) if self.uids else 0
        if choice < 0.25 or not number:
            message = MESSAGE % serial
            await self.command(b"APPEND INBOX {%d+}\r\n%b" % (len(message), message))
        elif choice < 0.45:
            sign = self.random.choice((b"+", b"-", b""))
            flag = self.random.choice((b"\\Seen", b"\\Flagged", b"$Label", b"\\Deleted"))
            await self.command(b"STORE %d %bFLAGS (%b)" % (number, sign, flag), may_expunge=False)
        elif choice < 0.6:
            await self.command(b"FETCH %d:* (UID FLAGS)" % number, may_expunge=False)
        elif choice < 0.7:
            await self.command(b"FETCH %d (UID BODYSTRUCTURE)" % number, may_expunge=False)
        elif choice < 0.78:
            await self.command(b"EXPUNGE")
        elif choice < 0.84:
            await self.command(b"MOVE %d other" % number)
        elif choice < 0.88:
            await self.command(b"COPY %d INBOX" % number)
        elif choice < 0.92:
            await self.command(b"SEARCH RETURN (COUNT) UNSEEN", may_expunge=False)
        else:
            await self.command(b"NOOP")
            await self.ask_uids()


@pytest.mark.parametrize("store", ["dict", "remote", "maildir", "redis"])
@pytest.mark.parametrize("seed", range(6))
async def test_many_clients_agree(
    imap_server: Callable[..., Awaitable[Server]], store: str, seed: int
) -> None:
    server = await imap_server(store=store)
    address = server.addresses[0]
    clients = [Client(name, seed) for name in range(5)]
    async with asyncio.timeout(60):
        for client in clients:
            await client.connect(address)
        await clients[0].command(b"CREATE other")

        async def run(client: Client) -> None:
            for turn in range(60):
                await client.act(turn * 10 + client.name)

        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(run(client))
        for client in clients:
            await client.command(b"NOOP")
            await client.ask_uids()
        for client in clients:
            client.writer.close()
            await client.writer.wait_closed()
    async with server.backend.account("demouser") as account:
        rows = await (await account.open("INBOX")).metadata(UidSet(((1, 0xFFFFFFFF),)))
    truth = {row.uid: {flag.name.encode() for flag in row.flags} for row in rows}
    for client in clients:
        assert client.uids == list(truth)
        assert {uid: client.flags[uid] for uid in truth} == truth
