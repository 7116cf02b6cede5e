"""What a server has promised, and clients that make it promise more.

Each worker changes messages of its own, in mailboxes that all share, so what must be there is
known for every message: as it was acknowledged, or, if the answer did not come, as it was before
or as it would have been.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from .client import BODY, BODY_ITEM, HEADER, HEADER_ITEM, Mail, Selected, a_set, flags, message_id
from .deliver import crlf, deliver, mail

BOXES = ("INBOX", "box", "box/other")
FLAGS = [b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Draft", *(b"k%d" % n for n in range(8))]

Key = tuple[str, bytes]
"""A mailbox and a Message-ID: no worker puts a message twice into one mailbox."""


class State(NamedTuple):
    flags: frozenset[bytes]
    uid: int | None = None
    "None while no server has told it."


@dataclass
class Pending:
    """A command that was not answered yet; None stands for: not there."""

    kind: str
    before: dict[Key, State | None]
    after: dict[Key, State | None]


@dataclass
class Mirror:
    """What a client that synchronises knows; all that changed after `modseq` it will be told."""

    uid_validity: int
    modseq: int
    flags: dict[int, frozenset[bytes]]


@dataclass
class Ledger:
    held: dict[Key, State] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    "By worker: one command at a time each."
    octets: dict[bytes, bytes] = field(default_factory=dict)
    told: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    "Mailbox, UIDVALIDITY and UID: the Message-ID that it was ever seen with."
    highest: dict[str, int] = field(default_factory=dict)
    "The highest UID told of, by mailbox."
    modseq: dict[str, int] = field(default_factory=dict)
    uid_validity: dict[str, int] = field(default_factory=dict)
    mirrors: dict[str, Mirror] = field(default_factory=dict)
    answered: int = 0

    # -- what is told --

    def tell(self, box: str, uid_validity: int, uid: int, name: bytes) -> None:
        known = self.uid_validity.setdefault(box, uid_validity)
        assert known == uid_validity, f"{box}: UIDVALIDITY was {known}, now {uid_validity}"
        before = self.told.setdefault((box, uid_validity, uid), name)
        assert before == name, f"{box} UID {uid} was {before!r}, now {name!r}"
        self.highest[box] = max(self.highest.get(box, 0), uid)

    def rise(self, box: str, modseq: int) -> None:
        self.modseq[box] = max(self.modseq.get(box, 0), modseq)

    # -- what is promised --

    def acknowledge(self, worker: str, uids: dict[Key, int] | None = None) -> None:
        done = self.pending.pop(worker)
        self.answered += 1
        for key, state in done.after.items():
            if state is None:
                self.held.pop(key, None)
            else:
                self.held[key] = state._replace(uid=(uids or {}).get(key, state.uid))

    def of(self, worker: str, box: str) -> dict[bytes, State]:
        start = worker.encode() + b"."
        return {k[1]: s for k, s in self.held.items() if k[0] == box and k[1].startswith(start)}

    # -- what is there --

    def settle(self, boxes: dict[str, dict[bytes, State]]) -> None:
        """Compare with what a server shows once it was stopped in the midst of commands. What was
        not answered is taken as it came out."""
        unsure: set[Key] = set()
        for worker, pending in self.pending.items():
            unsure |= pending.before.keys() | pending.after.keys()
            self._came_out(worker, pending, boxes)
        self.pending.clear()
        shown = {(box, name): s for box, rows in boxes.items() for name, s in rows.items()}
        for key, state in self.held.items():
            if key not in unsure:
                now = shown.get(key)
                assert now is not None, f"{key} was acknowledged and is lost"
                assert now.flags == state.flags, f"{key}: {state} is now {now}"
                assert state.uid in (None, now.uid), f"{key}: {state} is now {now}"
        more = shown.keys() - self.held.keys() - unsure
        assert not more, f"nobody has put them there, or they were removed: {more}"
        self.held = shown

    def _came_out(
        self, worker: str, pending: Pending, boxes: dict[str, dict[bytes, State]]
    ) -> None:
        outcomes = {}
        for key, after in pending.after.items():
            now, before = boxes[key[0]].get(key[1]), pending.before[key]
            outcomes[key] = now is not None
            allowed = [None if s is None else s.flags for s in (before, after)]
            assert (None if now is None else now.flags) in allowed, (
                f"{worker} {pending.kind} {key}: {before} or {after}, but it is {now}"
            )
            if before is not None and after is not None and now is not None:
                assert now.uid == before.uid
        if pending.kind in ("APPEND", "COPY"):
            assert len(set(outcomes.values())) == 1, f"{worker} {pending.kind}: in part {outcomes}"
        if pending.kind == "MOVE":
            for name in {key[1] for key in outcomes}:
                places = [key[0] for key, there in outcomes.items() if there and key[1] == name]
                assert len(places) == 1, f"{worker} MOVE: {name!r} is in {places}"


@asynccontextmanager
async def running(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks, none of which outlives this."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def shown(client: Mail, ledger: Ledger, others: bool = False) -> dict[str, Any]:
    """All messages by mailbox and Message-ID; their octets are compared. While `others` go on, a
    message may vanish under this."""
    found: dict[str, dict[bytes, State]] = {}
    for box in BOXES:
        least = ledger.highest.get(box, 0)
        selected = await client.select(box)
        assert selected.uid_next > least, (
            f"{box}: UIDNEXT {selected.uid_next}, but UID {least} was told"
        )
        rows = found[box] = {}
        for uid, items in (await client.everything(BODY)).items():
            octets = items.get(BODY_ITEM) or b""
            name = message_id(octets)
            if others and not octets:
                continue
            assert name not in rows, f"{box}: {name!r} is there twice: {rows[name].uid}, {uid}"
            assert octets == ledger.octets[name], f"{box}: {name!r} has other octets"
            ledger.tell(box, selected.uid_validity, uid, name)
            rows[name] = State(flags(items), uid)
    return found


class Worker:
    """A client that does at random what clients do, and keeps account."""

    def __init__(
        self, name: str, ledger: Ledger, random: Random, boxes: Sequence[str] = BOXES
    ) -> None:
        self.name, self.ledger, self.random, self.boxes = name, ledger, random, boxes
        self.made = 0
        self.client: Mail
        self.box: str
        self.server = ""
        "Who is being asked: for the text of a failure."
        self.slowest_s = 0.0

    async def enter(self, client: Mail, server: str = "") -> None:
        self.client, self.server = client, server
        await self.switch(self.random.choice(self.boxes))

    async def switch(self, box: str) -> Selected:
        least = self.ledger.modseq.get(box, 0), self.ledger.highest.get(box, 0)
        selected = await self.client.select(box, self.with_)
        self.box = box
        told = self.ledger.told.get((box, selected.uid_validity, least[1]), b"")
        fate = self.ledger.held.get((box, told), "gone")
        assert selected.uid_next > least[1], (
            f"{self.server} {box}: UIDNEXT {selected.uid_next}, but UID {least[1]} was told"
            f" of {told!r}, which is {fate}"
        )
        if self.with_:
            assert selected.modseq >= least[0], f"{box}: {selected.modseq} was {least[0]}"
            self.ledger.rise(box, selected.modseq)
        known = self.ledger.uid_validity.setdefault(box, selected.uid_validity)
        assert known == selected.uid_validity
        return selected

    with_ = b"(CONDSTORE)"
    "What modseqs are compared with; b'' where two servers keep their own."

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Until told to stop; raises EOFError or ConnectionError when the server is gone."""
        actions: list[Callable[[], Awaitable[None]]] = [
            *[self.append] * 4,
            *[self.store] * 5,
            *[self.copy] * 2,
            *[self.move] * 3,
            *[self.expunge] * 2,
            self.look,
            self.elsewhere,
        ]
        while goes_on():
            action = self.random.choice(actions)
            if sum(len(self.mine(box)) for box in self.boxes) > 40:
                action = self.expunge
            started = time.monotonic()
            await action()
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)

    def mine(self, box: str) -> dict[bytes, State]:
        return self.ledger.of(self.name, box)

    def some(self, but_not_in: str | None = None) -> dict[Key, State]:
        """One to three messages of the selected mailbox, by UID."""
        others = self.mine(but_not_in) if but_not_in else {}
        fit = [(k, s) for k, s in self.mine(self.box).items() if k not in others]
        chosen = self.random.sample(fit, min(len(fit), self.random.randint(1, 3)))
        chosen.sort(key=lambda item: item[1].uid or 0)
        return {(self.box, name): state for name, state in chosen}

    def any_flags(self) -> frozenset[bytes]:
        return frozenset(self.random.sample(FLAGS, self.random.randint(0, 3)))

    def begin(self, kind: str, before: dict[Key, Any], after: dict[Key, Any]) -> None:
        assert before.keys() == after.keys()
        self.ledger.pending[self.name] = Pending(kind, before, after)

    def heard(self, untagged: list[bytes]) -> None:
        """Modseqs of FETCH responses."""
        for response in untagged:
            _, found, rest = response.partition(b"MODSEQ (")
            if found:
                self.ledger.rise(self.box, int(rest.partition(b")")[0]))

    # -- the commands --

    def message(self) -> bytes:
        self.made += 1
        size = self.random.choice([0, 10, 100, 1000, 1000, 10_000, 200_000])
        body = self.random.randbytes(size // 2).hex().encode()
        name = f"{self.name}.{self.made}"
        octets = crlf(mail(name, b"\n".join(body[i : i + 70] for i in range(0, size, 70))))
        self.ledger.octets[name.encode()] = octets
        return octets

    async def append(self) -> None:
        box = self.random.choice(self.boxes)
        messages = [
            (self.message(), self.any_flags()) for _ in range(self.random.choice([1, 1, 1, 2, 4]))
        ]
        keys = [(box, message_id(octets)) for octets, _ in messages]
        after = {k: State(_lower(f)) for k, (_, f) in zip(keys, messages, strict=True)}
        self.begin("APPEND", dict.fromkeys(keys), after)
        least = self.ledger.highest.get(box, 0)
        added = await self.client.append(box, *((o, b" ".join(f)) for o, f in messages))
        assert len(added.uids) == len(keys)
        self.got(box, added.uid_validity, keys, added.uids, least)
        self.ledger.acknowledge(self.name, dict(zip(keys, added.uids, strict=True)))

    def got(
        self, box: str, uid_validity: int, keys: list[Key], uids: list[int], least: int
    ) -> None:
        assert uids == sorted(uids), uids
        for key, uid in zip(keys, uids, strict=True):
            assert uid > least, f"{self.server} {box}: UID {uid} is given, {least} was told"
            self.ledger.tell(box, uid_validity, uid, key[1])

    async def store(self) -> None:
        chosen = self.some()
        if not chosen:
            return
        given = self.any_flags()
        how = self.random.choice([b"+FLAGS", b"-FLAGS", b"FLAGS", b"+FLAGS.SILENT"])
        after = {}
        for key, state in chosen.items():
            now = {43: state.flags | _lower(given), 45: state.flags - _lower(given)}
            after[key] = state._replace(flags=now.get(how[0], _lower(given)))
        self.begin("STORE", dict(chosen), dict(after))
        uids = a_set([state.uid or 0 for state in chosen.values()])
        self.heard(await self.client.ok(b"UID STORE %b %b (%b)" % (uids, how, b" ".join(given))))
        self.ledger.acknowledge(self.name)

    async def copy(self) -> None:
        await self._copy(b"COPY")

    async def move(self) -> None:
        await self._copy(b"MOVE")

    async def _copy(self, how: bytes) -> None:
        box = self.random.choice([box for box in self.boxes if box != self.box])
        chosen = self.some(but_not_in=box)
        if not chosen:
            return
        targets: dict[Key, Any] = {
            (box, name): state._replace(uid=None) for (_, name), state in chosen.items()
        }
        before, after = dict.fromkeys(targets), targets
        if how == b"MOVE":
            before, after = {**before, **chosen}, {**targets, **dict.fromkeys(chosen)}
        self.begin(how.decode(), before, after)
        least = self.ledger.highest.get(box, 0)
        uids = [state.uid or 0 for state in chosen.values()]
        copied = await self.client.copy(uids, box, how)
        assert copied.source == uids, f"{self.server} {how!r} {uids} of {self.box}: {copied}"
        self.got(box, copied.uid_validity, list(targets), copied.target, least)
        self.ledger.acknowledge(self.name, dict(zip(targets, copied.target, strict=True)))

    async def expunge(self) -> None:
        chosen = self.some()
        if not chosen:
            await self.elsewhere()
            return
        uids = a_set([state.uid or 0 for state in chosen.values()])
        gone = {k: s._replace(flags=s.flags | {b"\\deleted"}) for k, s in chosen.items()}
        self.begin("STORE", dict(chosen), dict(gone))
        self.heard(await self.client.ok(b"UID STORE %b +FLAGS.SILENT (\\Deleted)" % uids))
        self.ledger.acknowledge(self.name)
        if self.random.random() < 0.2:
            return
        self.begin("EXPUNGE", dict(gone), dict.fromkeys(gone))
        await self.client.ok(b"UID EXPUNGE ", uids)
        self.ledger.acknowledge(self.name)

    async def elsewhere(self) -> None:
        await self.switch(self.random.choice(self.boxes))

    async def look(self) -> None:
        """What was acknowledged to this client it sees."""
        await self.client.ok(b"NOOP")
        wrong = self.compared(await self.client.everything(HEADER))
        assert not wrong, (self.server, wrong)

    def compared(self, rows: dict[int, dict[bytes, Any]]) -> list[str]:
        there = {}
        for uid, items in rows.items():
            name = message_id(items.get(HEADER_ITEM) or b"")
            if name:  # NIL: it vanished meanwhile
                self.ledger.tell(self.box, self.ledger.uid_validity[self.box], uid, name)
                there[name] = State(flags(items), uid)
        mine = self.mine(self.box)
        wrong = [
            f"{self.box} {n!r}: {s}, {there.get(n)}" for n, s in mine.items() if there.get(n) != s
        ]
        start = self.name.encode() + b"."
        wrong += [f"{n!r} is in {self.box}" for n in there if n.startswith(start) and n not in mine]
        return wrong

    async def find_all(self, within_s: float = 5) -> None:
        """After a change of server: all that was promised is seen, if not at once."""
        end = time.monotonic() + within_s
        for box in self.boxes:
            while True:
                await self.switch(box)
                wrong = self.compared(await self.client.everything(HEADER))
                if not wrong:
                    break
                assert time.monotonic() < end, (self.server, wrong)
                await asyncio.sleep(0.02)


def _lower(given: frozenset[bytes]) -> frozenset[bytes]:
    return frozenset(flag.lower() if flag.startswith(b"\\") else flag for flag in given)


class Agent:
    """A delivery agent: what it has linked into `new` must be there once."""

    def __init__(self, ledger: Ledger, folders: dict[str, Path], random: Random) -> None:
        self.ledger, self.folders, self.random = ledger, folders, random
        self.made = 0

    def deliver(self) -> None:
        self.made += 1
        name = f"agent.{self.made}"
        octets = mail(name, b"line\n" * self.random.choice([1, 100, 5000]))
        self.ledger.octets[name.encode()] = crlf(octets)
        box = self.random.choice(list(self.folders))
        deliver(self.folders[box], octets)
        self.ledger.held[box, name.encode()] = State(frozenset())

    async def run(self, goes_on: Callable[[], bool], pause_s: float = 0.01) -> None:
        while goes_on():
            self.deliver()
            await asyncio.sleep(pause_s)  # its pace, no synchronisation


async def reflect(client: Mail, ledger: Ledger, box: str) -> None:
    """Synchronise anew, as a client that keeps a copy would."""
    await client.ok(b"UNSELECT")
    selected = await client.select(box)
    rows = await client.everything(b"MODSEQ")
    ledger.mirrors[box] = Mirror(
        selected.uid_validity, selected.modseq, {uid: flags(items) for uid, items in rows.items()}
    )
    ledger.rise(box, selected.modseq)
    for items in rows.values():
        ledger.rise(box, int(items[b"MODSEQ"][0]))
