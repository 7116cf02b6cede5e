"""A client that knows IMAP well enough to keep account of what a server told it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from interop.wire import parse
from server.client import Answer, Client

from pymap.wire import modutf7

from .dovecot import PASSWORD
from .place import USER

_CODE = re.compile(rb"^\S+ (?:OK|NO|BAD|BYE) \[([A-Z0-9-]+)(?: ([^\]]*))?\]")
_FETCH = re.compile(rb"\* (\d+) FETCH ", re.IGNORECASE)


class Refused(Exception):
    """NO or BAD; `code` is its response code or b""."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.tagged)
        self.answer = answer
        self.condition = answer.condition
        self.code = code(answer)[0]


class Added(NamedTuple):
    uid_validity: int
    uids: list[int]


class Copied(NamedTuple):
    uid_validity: int
    source: list[int]
    target: list[int]


@dataclass
class Selected:
    uid_validity: int
    uid_next: int
    modseq: int
    exists: int
    read_only: bool
    flags: frozenset[bytes]
    untagged: list[bytes]


def quoted(name: str) -> bytes:
    """A mailbox name as IMAP4rev1 has it."""
    raw = modutf7.encode(name)
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def code(answer: Answer) -> tuple[bytes, bytes]:
    """The response code of the tagged line and what follows it."""
    found = _CODE.match(answer.tagged)
    return (found[1], found[2] or b"") if found else (b"", b"")


def numbers(text: bytes) -> list[int]:
    """``3:5,9`` written out, in its order."""
    found: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    return found


def a_set(uids: Sequence[int]) -> bytes:
    return b",".join(b"%d" % uid for uid in uids)


def flags(items: dict[bytes, Any]) -> frozenset[bytes]:
    r"""Without \Recent, which is a matter of who looked first. System flags in one spelling."""
    return frozenset(
        flag.lower() if flag.startswith(b"\\") else flag
        for flag in items[b"FLAGS"]
        if flag.lower() != b"\\recent"
    )


class Mail(Client):
    @classmethod
    async def to(cls, address: tuple[str, int]) -> Mail:
        client = await cls.connect(address)
        assert isinstance(client, cls)
        return client

    async def enter(self, user: str = USER, password: str = PASSWORD) -> Mail:
        await self.ok(f'LOGIN "{user}" "{password}"'.encode())
        return self

    async def line(self) -> bytes:
        """As ever, but a server may be killed within a line."""
        try:
            return await super().line()
        except AssertionError as error:
            raise EOFError(*error.args) from error

    async def run(self, *pieces: bytes) -> Answer:
        """As `ok`, with the tagged line; Refused for NO and BAD."""
        answer = await self.command(*pieces)
        if answer.condition != b"OK":
            raise Refused(answer)
        return answer

    async def refused(self, *pieces: bytes) -> bytes:
        """It must be NO; the response code."""
        answer = await self.command(*pieces)
        assert answer.condition == b"NO", (pieces[0][:80], answer.tagged)
        return code(answer)[0]

    # -- mailboxes --

    async def select(self, name: str, with_: bytes = b"", how: bytes = b"SELECT") -> Selected:
        """`with_` stands after the name: ``(CONDSTORE)``, ``(QRESYNC (...))``."""
        answer = await self.run(how, b" ", quoted(name), b" " + with_ if with_ else b"")
        codes: dict[bytes, bytes] = {}
        exists, known = 0, frozenset[bytes]()
        for response in answer.untagged:
            if found := _CODE.match(response):
                codes[found[1]] = found[2] or b""
            elif found := re.match(rb"\* (\d+) EXISTS", response):
                exists = int(found[1])
            elif response.startswith(b"* FLAGS "):
                known = frozenset(parse(response)[2])
        return Selected(
            uid_validity=int(codes[b"UIDVALIDITY"]),
            uid_next=int(codes[b"UIDNEXT"]),
            modseq=int(codes.get(b"HIGHESTMODSEQ", b"0")),
            exists=exists,
            read_only=code(answer)[0] == b"READ-ONLY",
            flags=known,
            untagged=answer.untagged,
        )

    async def names(self, how: bytes = b"LIST", pattern: bytes = b"*") -> dict[str, set[bytes]]:
        """Attributes in lower case by name."""
        found = {}
        for response in await self.ok(how, b' "" "', pattern, b'"'):
            if response.startswith(b"* " + how):
                _, _, attributes, delimiter, raw = parse(response)[:5]
                assert delimiter == b"/", response
                found[modutf7.decode(raw)] = {a.lower() for a in attributes}
        return found

    async def status(self, name: str, items: bytes) -> dict[bytes, int]:
        answer = await self.run(b"STATUS ", quoted(name), b" (", items, b")")
        for response in answer.untagged:
            if response.startswith(b"* STATUS "):
                values = parse(response)[3]
                return {k.upper(): int(v) for k, v in zip(values[::2], values[1::2], strict=True)}
        raise AssertionError("no STATUS response")

    # -- messages --

    async def append(  # type: ignore[override]  # tells what was made
        self, name: str, *messages: tuple[bytes, bytes], date: str | None = None
    ) -> Added:
        """Each with its flags, ``\\Seen keyword``."""
        pieces = []
        for content, flags in messages:
            when = f' "{date}"'.encode() if date else b""
            pieces.append(b" (%b)%b {%d+}\r\n" % (flags, when, len(content)))
            pieces.append(content)
        answer = await self.run(b"APPEND ", quoted(name), *pieces)
        what, value = code(answer)
        assert what == b"APPENDUID", answer.tagged
        uid_validity, uids = value.split()
        return Added(int(uid_validity), numbers(uids))

    async def copy(self, uids: Sequence[int], name: str, how: bytes = b"COPY") -> Copied:
        """COPY or MOVE. Nothing copied is three times nothing."""
        answer = await self.run(b"UID ", how, b" ", a_set(uids), b" ", quoted(name))
        for response in [*answer.untagged, answer.tagged]:
            found = _CODE.match(response)
            if found and found[1] == b"COPYUID":
                uid_validity, source, target = found[2].split()
                return Copied(int(uid_validity), numbers(source), numbers(target))
        return Copied(0, [], [])

    async def fetch(self, uids: bytes, *items: bytes) -> dict[int, dict[bytes, Any]]:
        """By UID; UID and FLAGS come without being asked for."""
        wanted = b" ".join((b"UID", b"FLAGS", *items))
        return by_uid(await self.ok(b"UID FETCH ", uids, b" (", wanted, b")"))

    async def everything(self, *items: bytes) -> dict[int, dict[bytes, Any]]:
        return await self.fetch(b"1:*", *items)

    async def message_ids(self) -> dict[bytes, int]:
        """UIDs by Message-ID, which must be different ones."""
        found: dict[bytes, int] = {}
        for uid, items in (await self.everything(HEADER)).items():
            name = message_id(items[HEADER_ITEM])
            assert name not in found, f"{name!r} is there twice: {found[name]} and {uid}"
            found[name] = uid
        return found


HEADER = b"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
HEADER_ITEM = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
BODY = b"BODY.PEEK[]"
BODY_ITEM = b"BODY[]"


def message_id(octets: bytes) -> bytes:
    found = re.search(rb"^Message-ID: <(.+)>\r?$", octets, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else b""


def by_uid(untagged: list[bytes]) -> dict[int, dict[bytes, Any]]:
    """The items of FETCH responses. Those without UID, of other sessions' doing, are left out."""
    found: dict[int, dict[bytes, Any]] = {}
    for response in untagged:
        if head := _FETCH.match(response):
            values = parse(response[head.end() :])[0]
            items = {k.upper(): v for k, v in zip(values[::2], values[1::2], strict=True)}
            if b"UID" in items:
                found.setdefault(int(items[b"UID"]), {}).update(items)
    return found
