"""SEARCH against a naive evaluation, message by message, of any tree of keys."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from pymap.backend.api import NewMessage, digest
from pymap.backend.dict import DictBackend
from pymap.config import ExtensionConfig
from pymap.imap.server import Server
from pymap.wire.types import InternalDate, UidSet

StartServer = Callable[..., Awaitable[Server]]
WORDS = ("apple", "pear", "Plum")
FLAGS = ("\\Seen", "\\Flagged", "$a")


class Message(NamedTuple):
    number: int
    uid: int
    subject: str
    body: str
    flags: frozenset[str]
    day: int

    @property
    def content(self) -> bytes:
        header = f"Subject: {self.subject}\r\nDate: {self.day + 1} Jan 2024 00:00:00 +0000\r\n"
        return f"{header}\r\n{self.body}\r\n".encode()


Says = Callable[[Message], bool]


def always(message: Message) -> bool:
    return True


class Key(NamedTuple):
    text: str
    says: Says
    asks: Says = always
    """Whether a message is among those that the client asks for by numbers: only these count
    towards MESSAGELIMIT."""
    numbers: bool = False


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.tag = reader, writer, 0

    async def ask(self, command: str) -> list[str]:
        self.tag += 1
        tag = f"t{self.tag}"
        self.writer.write(f"{tag} {command}\r\n".encode())
        lines: list[str] = []
        async with asyncio.timeout(10):
            while not lines or not lines[-1].startswith(f"{tag} "):
                lines.append((await self.reader.readline()).decode().rstrip())
                assert lines[-1]
        assert lines[-1].startswith(f"{tag} OK"), (command, lines)
        return lines

    async def append(self, message: Message) -> None:
        content = message.content
        date = f'"{message.day:2d}-Jan-2024 12:00:00 +0000"'
        head = f"APPEND INBOX ({' '.join(message.flags)}) {date} {{{len(content)}+}}"
        await self.ask(f"{head}\r\n{content.decode()}")


async def connect(server: Server) -> Client:
    client = Client(*await asyncio.open_connection(*server.addresses[0]))
    await client.reader.readline()
    await client.ask("LOGIN demouser demopass")
    await client.ask("SELECT INBOX")
    return client


class Mailbox:
    """What one client knows: all messages that it was told of, some of which are gone, and $."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.messages: list[Message] = []
        self.gone: set[int] = set()
        self.saved: set[int] = set()

    def make(self, uid: int) -> Message:
        dice = self.dice
        flags = frozenset(flag for flag in FLAGS if dice.random() < 0.4)
        subject, body = " ".join(dice.choices(WORDS, k=2)), dice.choice(WORDS) * dice.randrange(9)
        return Message(len(self.messages) + 1, uid, subject, body, flags, dice.randrange(1, 9))

    def told(self) -> None:
        """The client hears of what is gone, and its numbers move."""
        left = [m for m in self.messages if m.uid not in self.gone]
        self.messages = [m._replace(number=at) for at, m in enumerate(left, 1)]

    # -- keys --

    def key(self, depth: int = 0) -> Key:
        dice = self.dice
        shape = dice.randrange(8) if depth < 4 else 7
        if shape == 0:
            inner = self.key(depth + 1)
            return Key(f"NOT {inner.text}", lambda m: not inner.says(m))
        if shape == 1:
            one, two = self.key(depth + 1), self.key(depth + 1)
            return Key(f"OR {one.text} {two.text}", lambda m: one.says(m) or two.says(m))
        if shape in (2, 3):
            keys = [self.key(depth + 1) for _ in range(dice.randrange(1, 4))]
            if len(keys) == 1:
                return keys[0]._replace(text=f"({keys[0].text})")
            numbers = [each for each in keys if each.numbers]
            return Key(
                f"({' '.join(each.text for each in keys)})",
                lambda m: all(each.says(m) for each in keys),
                lambda m: all(each.says(m) for each in numbers),
            )
        return self.leaf()

    def leaf(self) -> Key:
        dice = self.dice
        word, flag, day = dice.choice(WORDS), dice.choice(FLAGS), dice.randrange(1, 10)
        low, size, uid = word.lower(), dice.randrange(60, 130), dice.randrange(1, 20)
        name = flag.strip("\\") if flag.startswith("\\") else f"KEYWORD {flag}"
        leaves = [
            Key("ALL", always),
            Key(name, lambda m: flag in m.flags),
            Key(f"UN{name}", lambda m: flag not in m.flags),
            Key(f"SUBJECT {word}", lambda m: low in m.subject.lower()),
            Key(f"BODY {word}", lambda m: low in m.body.lower()),
            Key(f"TEXT {word}", lambda m: low in f"{m.subject} {m.body}".lower()),
            Key(f"LARGER {size}", lambda m: len(m.content) > size),
            Key(f"SMALLER {size}", lambda m: len(m.content) < size),
            Key(f"ON {day}-Jan-2024", lambda m: m.day == day),
            Key(f"BEFORE {day}-Jan-2024", lambda m: m.day < day),
            Key(f"SENTSINCE {day}-Jan-2024", lambda m: m.day + 1 >= day),
            self.numbers(f"UIDAFTER {uid}", lambda m: m.uid > uid),
            self.numbers(f"UIDBEFORE {uid}", lambda m: m.uid < uid),
            self.numbers("$", lambda m: m.uid in self.saved),
            self.ranges(""),
            self.ranges("UID "),
        ]
        return dice.choice(leaves)

    def numbers(self, text: str, says: Says) -> Key:
        return Key(text, says, says, numbers=True)

    def ranges(self, prefix: str) -> Key:
        last = self.messages[-1]
        highest = last.uid if prefix else last.number
        pairs = [
            (self.dice.randrange(highest + 3), self.dice.randrange(highest + 3)) for _ in range(2)
        ]
        text = ",".join(f"{a or '*'}:{b or '*'}" for a, b in pairs)
        meant = [sorted((a or highest, b or highest)) for a, b in pairs]

        def says(m: Message) -> bool:
            number = m.uid if prefix else m.number
            return any(first <= number <= last for first, last in meant)

        return self.numbers(prefix + text, says)

    # -- what RETURN gives --

    def returns(self) -> tuple[set[str], tuple[int, int]]:
        options = set(self.dice.sample(("MIN", "MAX", "COUNT", "SAVE"), self.dice.randrange(4)))
        options.add(self.dice.choice(("ALL", "PARTIAL")))
        sign = self.dice.choice((1, -1))
        return options, (sign * self.dice.randrange(1, 9), sign * self.dice.randrange(1, 9))

    def answer(
        self, found: list[Message], options: set[str], partial: tuple[int, int], by_uid: bool
    ) -> dict[str, str]:
        """The items of the response; what $ becomes on the way.   RFC 9394 3.2, RFC 5182 2.1"""
        numbers = [m.uid if by_uid else m.number for m in found]
        first, last = sorted(map(abs, partial))
        part = found[::-1][first - 1 : last][::-1] if partial[0] < 0 else found[first - 1 : last]
        items: dict[str, str] = {}
        if found and "MIN" in options:
            items["MIN"] = str(numbers[0])
        if found and "MAX" in options:
            items["MAX"] = str(numbers[-1])
        if found and "ALL" in options:
            items["ALL"] = listed(numbers)
        if "COUNT" in options:
            items["COUNT"] = str(len(found))
        if "PARTIAL" in options:
            shown = listed([m.uid if by_uid else m.number for m in part])
            items["PARTIAL"] = f"({partial[0]}:{partial[1]} {shown or 'NIL'})"
        if "SAVE" in options:
            chosen = found
            if options.isdisjoint({"ALL", "COUNT"}):
                ends = found[:1] * ("MIN" in options) + found[-1:] * ("MAX" in options)
                chosen = part + ends
            self.saved = {m.uid for m in chosen}
        return items


def listed(numbers: list[int]) -> str:
    """As a sequence set."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{r[0]}:{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)


@pytest.mark.parametrize("store", ["dict", "remote"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [None, 5])
async def test_a_search_finds_what_each_message_says(
    imap_server: StartServer, store: str, seed: int, limit: int | None
) -> None:
    """Also while the client has not been told that some messages are gone."""
    dice = random.Random(seed)
    server = await imap_server(store=store, extensions=ExtensionConfig(message_limit=limit))
    reader, writer = await connect(server), await connect(server)
    mailbox, uid = Mailbox(dice), 0
    for _ in range(4):
        for _ in range(6):
            uid += 1
            message = mailbox.make(uid)
            await writer.append(message)
            mailbox.messages.append(message)
        await reader.ask("NOOP")
        mailbox.told()
        for _ in range(12):
            if dice.random() < 0.2:
                doomed = dice.randrange(1, uid + 1)
                mailbox.gone.add(doomed)
                await writer.ask(f"UID STORE {doomed} +FLAGS.SILENT (\\Deleted)")
                await writer.ask(f"UID EXPUNGE {doomed}")
            by_uid = dice.random() < 0.2  # the client is told then, and its numbers move
            key = mailbox.key()
            options, partial = mailbox.returns()
            there = [m for m in mailbox.messages if m.uid not in mailbox.gone]
            if limit is not None:
                there = [m for m in there if key.asks(m)][-limit:]
            found = [m for m in there if key.says(m)]
            expected = mailbox.answer(found, options, partial, by_uid)
            asked = " ".join(sorted(options)).replace(
                "PARTIAL", f"PARTIAL {partial[0]}:{partial[1]}"
            )
            command = f"{'UID ' * by_uid}SEARCH RETURN ({asked}) {key.text}"
            lines = await reader.ask(command)
            (answer,) = [line for line in lines if line.startswith("* ESEARCH")]
            assert items_of(answer) == expected, (command, answer)
            if by_uid:
                mailbox.told()
    for client in (reader, writer):
        client.writer.close()


def items_of(line: str) -> dict[str, str]:
    words = line.partition(") ")[2].removeprefix("UID ").split(" ")
    items: dict[str, str] = {}
    while len(words) > 1:
        name = words.pop(0)
        items[name] = words.pop(0)
        if items[name].startswith("("):
            items[name] += f" {words.pop(0)}"
    return items


async def test_many_keys_take_no_more_memory_than_a_few(imap_server: StartServer) -> None:
    server = await imap_server()
    assert isinstance(server.backend, DictBackend)
    inbox = await server.backend.account_of("demouser").open("INBOX")
    content = b"\r\n"
    count = 20_000
    inbox.add([NewMessage(content, frozenset(), InternalDate(0), digest(content))] * count)
    await inbox.expunge(UidSet((uid, uid) for uid in range(1, count, 2)))  # no two are neighbours
    client = await connect(server)
    for key in ("LARGER {}", "SINCE 1-Jan-{}", "{}:*", "UID {}:*", "UNKEYWORD k{}", "SUBJECT {}"):
        text = " ".join(key.format(1000 + number) for number in range(500))
        tracemalloc.start()
        try:
            await client.ask(f"SEARCH RETURN (COUNT) SMALLER 1 {text}")
            assert tracemalloc.get_traced_memory()[1] < 5_000_000, key
        finally:
            tracemalloc.stop()
    client.writer.close()
