"""Clients that are told at any time know what the server means by each number, whatever others do.

A model of what each believes is kept from what it is told, and in the end it is what the store has.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from pymap.imap.server import Server
from pymap.wire.types import UidSet

from .test_many_clients import Client

LAST = b"$Last"
NOTIFY = (
    b"NOTIFY SET (%b (MessageNew (UID FLAGS) MessageExpunge FlagChange))"
    b" (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))"
)
STATUS = re.compile(rb"\* STATUS other \((.*)\)")


class Listener(Client):
    """One that is told of everything, and asks seldom."""

    def __init__(self, name: int, seed: int, delayed: bool) -> None:
        super().__init__(name, seed)
        self.delayed = delayed
        self.other: dict[bytes, bytes] = {}

    async def notify(self) -> None:
        chosen = b"SELECTED-DELAYED" if self.delayed else b"SELECTED"
        assert await self.command(NOTIFY % chosen) == b"OK"

    def hear(self, answer: bytes, may_expunge: bool) -> None:
        if status := STATUS.match(answer):
            words = status[1].split()
            self.other.update(zip(words[::2], words[1::2], strict=True))
        elif not answer.startswith((b"* STATUS", b"* LIST")):
            super().hear(answer, may_expunge)

    async def until_last(self) -> None:
        """Read what is pushed; commands in between must not spoil anything."""
        while not any(LAST in flags for flags in self.flags.values()):
            if self.random.random() < 0.1:
                # By number while these hold; FETCH and STORE hold back expunges.
                line = b"FETCH 1:* (UID)" if self.delayed else b"UID FETCH 1:* (UID FLAGS)"
                await self.command(line, may_expunge=not self.delayed)
            elif self.delayed and self.random.random() < 0.2:
                await self.command(b"NOOP")
            else:
                try:
                    async with asyncio.timeout(0.2):
                        line = await self.reader.readline()
                except TimeoutError:
                    continue
                self.hear(line.rstrip(b"\r\n"), may_expunge=not self.delayed)


@pytest.mark.parametrize("store", ["dict", "remote", "maildir", "redis"])
@pytest.mark.parametrize("seed", range(3))
async def test_listeners_know_what_the_store_has(
    imap_server: Callable[..., Awaitable[Server]], store: str, seed: int
) -> None:
    server = await imap_server(store=store)
    address = server.addresses[0]
    writers = [Client(name, seed) for name in (0, 2, 4)]
    listeners = [Listener(name, seed, delayed) for name in (10, 11) for delayed in (False, True)]
    async with asyncio.timeout(60):
        for client in (*writers, *listeners):
            await client.connect(address)
        await writers[0].command(b"CREATE other")
        for listener in listeners:
            await listener.notify()

        async def run(client: Client) -> None:
            for turn in range(50):
                await client.act(turn * 10 + client.name)

        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(listener.until_last()) for listener in listeners]
            writing = [asyncio.create_task(run(client)) for client in writers]
            await asyncio.gather(*writing)
            await writers[0].command(b"APPEND INBOX (%b) {1+}\r\nx" % LAST)
            await asyncio.gather(*reading)
        for listener in listeners:
            await listener.command(b"NOOP")
        for client in (*writers, *listeners):
            client.writer.close()
            await client.writer.wait_closed()
    async with server.backend.account("demouser") as account:
        rows = await (await account.open("INBOX")).metadata(UidSet(((1, 0xFFFFFFFF),)))
        other = await (await account.open("other")).status()
    truth = {row.uid: {flag.name.encode() for flag in row.flags} for row in rows}
    for listener in listeners:
        assert listener.uids == list(truth)
        assert {uid: listener.flags[uid] for uid in truth} == truth
        assert int(listener.other.get(b"MESSAGES", b"0")) == other.messages
        assert int(listener.other.get(b"UIDNEXT", b"1")) == other.uid_next
