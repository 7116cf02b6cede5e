"""All that a server shows of a user's mail, so that two servers can be compared."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple

from .client import BODY, BODY_ITEM, Mail, Refused, flags

# Dovecot still says \Noselect where RFC 5258 has a better word; \Marked and \Unmarked are hints.
_NOT_THERE = {b"\\noselect", b"\\nonexistent"}
_TOLD = {b"\\haschildren", b"\\hasnochildren"}


class Message(NamedTuple):
    flags: frozenset[bytes]
    instant: float
    size: int
    octets: str
    "Their length and a hash: a difference stays readable."


class Box(NamedTuple):
    uid_validity: int
    uid_next: int
    messages: dict[int, Message]
    status: dict[bytes, int]


class Picture(NamedTuple):
    listed: dict[str, set[bytes]]
    subscribed: set[str]
    boxes: dict[str, Box]

    def difference(self, other: Picture) -> list[str]:
        """Where two of them are not the same, one line for each fact."""
        found = []
        for name in sorted(self.listed.keys() | other.listed.keys()):
            mine, yours = self.listed.get(name), other.listed.get(name)
            if mine != yours and not (_is_level(mine) and _is_level(yours)):
                found.append(f"LIST {name}: {mine} / {yours}")
        if self.subscribed != other.subscribed:
            found.append(f"LSUB: {self.subscribed} / {other.subscribed}")
        for name in sorted(self.boxes.keys() & other.boxes.keys()):
            found += _difference(name, self.boxes[name], other.boxes[name])
        return found


def _is_level(attributes: set[bytes] | None) -> bool:
    """A level of hierarchy without a mailbox, or nothing at all: Dovecot lists empty directories that
    deleted folders have left, until it finds the time."""
    return attributes is None or b"\\noselect" in attributes


def _difference(name: str, mine: Box, yours: Box) -> list[str]:
    found = []
    for fact in ("uid_validity", "uid_next", "status"):
        a, b = getattr(mine, fact), getattr(yours, fact)
        if a != b:
            found.append(f"{name} {fact}: {a} / {b}")
    for uid in sorted(mine.messages.keys() | yours.messages.keys()):
        a, b = mine.messages.get(uid), yours.messages.get(uid)
        if a != b:
            found.append(f"{name} UID {uid}: {a} / {b}")
    return found


def _attributes(attributes: set[bytes]) -> set[bytes]:
    there = {b"\\noselect"} if attributes & _NOT_THERE else set()
    return there | (attributes & _TOLD)


async def picture(client: Mail, but: frozenset[str] = frozenset()) -> Picture:
    """Looks by EXAMINE, which changes nothing, and not into mailboxes `but`."""
    listed = {k: _attributes(v) for k, v in (await client.names()).items()}
    boxes = {}
    for name, attributes in listed.items():
        if b"\\noselect" in attributes or name in but:
            continue
        try:
            boxes[name] = await box(client, name)
        except Refused:
            # Dovecot lists a mailbox that was deleted under others as if it were still there.
            listed[name] = attributes | {b"\\noselect"}
    return Picture(listed, set(await client.names(b"LSUB")), boxes)


async def box(client: Mail, name: str) -> Box:
    # STATUS first: some clients never ask for more, so it must be right without SELECT.
    status = await client.status(name, b"MESSAGES UIDNEXT UIDVALIDITY UNSEEN")
    selected = await client.select(name, how=b"EXAMINE")
    rows = await client.everything(b"INTERNALDATE", b"RFC822.SIZE", BODY)
    assert len(rows) == selected.exists
    return Box(
        selected.uid_validity,
        selected.uid_next,
        {uid: _message(items) for uid, items in rows.items()},
        status,
    )


def _message(items: dict[bytes, Any]) -> Message:
    octets = items[BODY_ITEM] or b""
    return Message(
        flags(items),
        instant(items[b"INTERNALDATE"]),
        int(items[b"RFC822.SIZE"]),
        f"{len(octets)} {hashlib.sha256(octets).hexdigest()[:16]}",
    )


def instant(internal_date: bytes) -> float:
    """Seconds since 1970: two servers may write one instant in different zones."""
    return datetime.strptime(internal_date.decode().strip(), "%d-%b-%Y %H:%M:%S %z").timestamp()
