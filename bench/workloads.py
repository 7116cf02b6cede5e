"""What is measured: each workload is a row of WORKLOADS and, mostly, a list of Steps.

A Step carries the check of its answer, with numbers computed by `messages`: an answer that is wrong
or short ends the run. Where a workload changes flags it changes them back, so that every round and
every peer sees the same mailbox.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from . import messages, proc
from .client import (
    TAG,
    Check,
    Client,
    Failure,
    Step,
    Timing,
    closed_loop,
    parallel_loop,
    wait,
)
from .servers import Peer, append

METADATA_CAP = 10_000
WHOLE_CAP = 2_000
BODY_SEARCH_CAP = 10_000
_SINGLES = 512  # different messages asked for one by one, in random order
_APPENDED = 256  # different messages appended in turn
_SCRATCH = "Scratch"


class Box(NamedTuple):
    """A loaded mailbox: message i has sequence number i + 1 and UID first_uid + i."""

    name: str
    n: int
    first_uid: int


@dataclass
class Round:
    """One peer under one workload, once."""

    peer: Peer
    box: Box
    slot_s: float
    server_cpu_s: float = 0.0
    generator_cpu_s: float = 0.0

    @contextmanager
    def timed(self, *, one_core: bool = False) -> Iterator[None]:
        """Count CPU time in here only: connecting and selecting stay outside."""
        with proc.on_one_core(self.peer.pid) if one_core else nullcontext():
            server, generator = self.peer.cpu_s(), time.process_time()
            yield
            self.generator_cpu_s = time.process_time() - generator
            self.server_cpu_s = self.peer.cpu_s() - server


class Workload(NamedTuple):
    name: str
    run: Callable[[Round], Timing]
    sized: bool = True
    """Repeat it for each mailbox size; otherwise only beside the smallest."""
    largest: int | None = None
    listeners: int = 0


# -- checks --


def contains(needle: bytes, n: int) -> Check:
    def check(response: bytes) -> None:
        found = response.count(needle)
        if found != n:
            raise Failure(f"expected {needle[:80]!r} {n} times, got {found}: {response[:300]!r}")

    return check


def all_of(*checks: Check) -> Check:
    def check(response: bytes) -> None:
        for one in checks:
            one(response)

    return check


def holds(*needles: bytes) -> Check:
    return all_of(*(contains(needle, 1) for needle in needles))


def hits(numbers: Sequence[int]) -> Check:
    """The one untagged SEARCH names exactly these."""
    expected = [b"%d" % number for number in numbers]

    def check(response: bytes) -> None:
        start = response.find(b"* SEARCH")
        found = response[start : response.find(b"\r\n", start)].split()[2:]
        if start < 0 or found != expected:
            raise Failure(
                f"SEARCH: expected {len(expected)} hits {expected[:5]}, "
                f"got {len(found)} {found[:5]}: {response[-200:]!r}"
            )

    return check


def literal(octets: bytes) -> Check:
    return holds(b"{%d}\r\n%b" % (len(octets), octets))


# -- steps --


def line(text: str) -> bytes:
    return TAG + b" " + text.encode() + b"\r\n"


def noop(_: Box) -> list[Step]:
    return [Step(line("NOOP"))]


def noop_batch(_: Box) -> list[Step]:
    return [Step(line("NOOP") * 100, ops=100)]


def select_again(box: Box) -> list[Step]:
    return [Step(line(f"SELECT {box.name}"), holds(b"* %d EXISTS\r\n" % box.n))]


def status(box: Box) -> list[Step]:
    unseen = len(_unseen(box.n))
    check = holds(
        b"MESSAGES %d" % box.n, b"UNSEEN %d" % unseen, b"UIDNEXT %d" % (box.first_uid + box.n)
    )
    return [Step(line(f"STATUS {box.name} (MESSAGES UNSEEN UIDNEXT)"), check)]


def fetch_flags(box: Box) -> list[Step]:
    seen = sum("\\Seen" in messages.flags(i) for i in range(box.n))
    check = all_of(
        contains(b" FETCH (", box.n),
        contains(b"\\Seen", seen),
        holds(b"\r\n* %d FETCH (UID %d " % (box.n, box.first_uid + box.n - 1)),
    )
    return [Step(line("FETCH 1:* (UID FLAGS)"), check)]


def fetch_metadata(box: Box) -> list[Step]:
    n = min(box.n, METADATA_CAP)
    samples: list[Check] = []
    for i in _samples(n):
        raw = messages.message(i)
        start = raw.index(b"\r\nMessage-ID: ") + 14
        message_id = raw[start : raw.index(b"\r\n", start)]
        time_of_day = messages.imap_date_time(i)[2:].encode()  # the day may be "01" or " 1"
        samples.append(holds(b'"%b")' % message_id))
        samples.append(holds(time_of_day))
        samples.append(_in_line(i + 1, b"RFC822.SIZE %d" % len(raw)))
    check = all_of(
        contains(b" FETCH (", n),
        contains(b"ENVELOPE (", n),
        contains(b"BODYSTRUCTURE (", n),
        *samples,
    )
    items = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
    return [Step(line(f"FETCH 1:{n} {items}"), check)]


def fetch_headers(box: Box) -> list[Step]:
    n = min(box.n, METADATA_CAP)
    samples = [literal(messages.header_fields(messages.message(i))) for i in _samples(n)]
    fields = " ".join(messages.HEADER_FIELDS)
    request = line(f"FETCH 1:{n} (BODY.PEEK[HEADER.FIELDS ({fields})])")
    return [Step(request, all_of(contains(b" FETCH (", n), *samples))]


def fetch_whole(box: Box) -> list[Step]:
    n = min(box.n, WHOLE_CAP)
    samples = [literal(messages.message(i)) for i in _samples(n)]
    return [Step(line(f"FETCH 1:{n} (BODY.PEEK[])"), all_of(contains(b" FETCH (", n), *samples))]


def fetch_flags_of_one(box: Box) -> list[Step]:
    steps: list[Step] = []
    for i in _random(box.n):
        uid = box.first_uid + i
        check = all_of(contains(b" FETCH (", 1), holds(b"* %d F" % (i + 1), b"UID %d" % uid))
        steps.append(Step(line(f"UID FETCH {uid} (FLAGS)"), check))
    return steps


def fetch_whole_one(box: Box) -> list[Step]:
    return [
        Step(
            line(f"UID FETCH {box.first_uid + i} (BODY.PEEK[])"),
            literal(messages.message(i)),
        )
        for i in _random(box.n)
    ]


def store_one(box: Box) -> list[Step]:
    steps: list[Step] = []
    for i in _random(box.n):
        steps.append(Step(line(f"STORE {i + 1} +FLAGS.SILENT (\\Flagged)"), _silent))
        check = all_of(holds(b"* %d FETCH (" % (i + 1)), contains(b"\\Flagged", 0))
        steps.append(Step(line(f"STORE {i + 1} -FLAGS (\\Flagged)"), check))
    return steps


def store_range(box: Box) -> list[Step]:
    n = min(box.n, 1000)
    news = all_of(contains(b" FETCH (", n), contains(b"\\Flagged", 0))
    return [
        Step(line(f"STORE 1:{n} +FLAGS.SILENT (\\Flagged)"), _silent),
        Step(line(f"STORE 1:{n} -FLAGS (\\Flagged)"), news),
    ]


def search_unseen(box: Box) -> list[Step]:
    return [Step(line("SEARCH UNSEEN"), hits(_unseen(box.n)))]


def search_since(box: Box) -> list[Step]:
    i = box.n * 9 // 10
    return [Step(line(f"SEARCH SINCE {messages.imap_date(i)}"), hits(messages.since(box.n, i)))]


def search_subject(box: Box) -> list[Step]:
    found = [i + 1 for i in range(box.n) if messages.has_subject_word(i)]
    return [Step(line(f"SEARCH SUBJECT {messages.SUBJECT_WORD}"), hits(found))]


def search_body(box: Box) -> list[Step]:
    found = [i + 1 for i in range(box.n) if messages.has_body_word(i)]
    return [Step(line(f"SEARCH BODY {messages.BODY_WORD}"), hits(found))]


_silent = contains(b" FETCH (", 0)


def _unseen(n: int) -> list[int]:
    return [i + 1 for i in range(n) if "\\Seen" not in messages.flags(i)]


def _samples(n: int) -> list[int]:
    return sorted({0, n // 3, n // 2, n - 1})


def _random(n: int) -> list[int]:
    rnd = Random(n)
    return [rnd.randrange(n) for _ in range(_SINGLES)]


def _in_line(seq: int, needle: bytes) -> Check:
    def check(response: bytes) -> None:
        start = response.find(b"* %d FETCH (" % seq)
        if start < 0 or response.find(needle, start, start + 4000) < 0:
            raise Failure(f"expected {needle!r} of message {seq}: {response[start:][:300]!r}")

    return check


# -- runs --


def loop(
    steps: Callable[[Box], list[Step]],
    clients: int = 1,
    *,
    selected: bool = True,
    pairs: bool = False,
    one_core: bool = False,
) -> Callable[[Round], Timing]:
    """Closed loop over the steps, the first of them once before the clock starts.

    `one_core`: for small answers of which only one is awaited, see proc.on_one_core.
    `pairs`: every second step undoes the first; that no message is left \\Flagged is checked.
    """
    multiple = 2 if pairs else 1

    def run(r: Round) -> Timing:
        todo = steps(r.box)
        connections = [r.peer.client(r.box.name if selected else None) for _ in range(clients)]
        for step in todo[:multiple]:
            response = connections[0].ask(step.request, step.ops)
            if step.check is not None:
                step.check(response)
        with r.timed(one_core=one_core):
            if clients == 1:
                timing = closed_loop(connections[0], todo, r.slot_s, multiple)
            else:
                timing = parallel_loop(connections, todo, r.slot_s)
        if pairs:
            hits([])(connections[0].command("SEARCH FLAGGED"))
        for connection in connections:
            connection.close()
        return timing

    return run


def connect_login_logout(r: Round) -> Timing:
    latencies: list[float] = []
    logout = line("LOGOUT")
    with r.timed():
        deadline = time.perf_counter() + r.slot_s
        while not latencies or time.perf_counter() < deadline:
            begun = time.perf_counter()
            client = r.peer.client()
            response = client.ask(logout)
            client.close()
            latencies.append(time.perf_counter() - begun)
            holds(b"* BYE")(response)
        aside = time.process_time()
        r.peer.settle()  # its processes end, and are reaped, a little later
        aside = time.process_time() - aside
    return Timing(len(latencies), sum(latencies), latencies, aside)


def appends(clients: int) -> Callable[[Round], Timing]:
    def run(r: Round) -> Timing:
        admin = r.peer.client()
        admin.command(f"CREATE {_SCRATCH}")
        steps = [Step(append(_SCRATCH, [i])) for i in range(_APPENDED)]
        connections = [r.peer.client() for _ in range(clients)]
        with r.timed():
            if clients == 1:
                timing = closed_loop(connections[0], steps, r.slot_s)
            else:
                timing = parallel_loop(connections, steps, r.slot_s)
        stored = admin.select(_SCRATCH)
        if stored != timing.ops:
            raise Failure(f"{timing.ops} messages were appended, the mailbox has {stored}")
        first = admin.command("FETCH 1 BODY.PEEK[]")
        if not any(messages.message(i) in first for i in range(_APPENDED)):
            raise Failure(f"this was never appended: {first[:300]!r}")
        admin.command("CLOSE")
        admin.command(f"DELETE {_SCRATCH}")
        for connection in (admin, *connections):
            connection.close()
        return timing

    return run


def fan_out(listeners: int) -> Callable[[Round], Timing]:
    """From sending one APPEND until the last of the idling listeners has heard of it."""

    def run(r: Round) -> Timing:
        admin = r.peer.client()
        admin.command(f"CREATE {_SCRATCH}")
        idling = {c.sock.fileno(): c for c in _idle(r.peer, listeners)}
        poll = select.epoll()
        for fd in idling:
            poll.register(fd, select.EPOLLIN)
        latencies: list[float] = []
        r.peer.settle()
        with r.timed():
            deadline = time.perf_counter() + 2 * r.slot_s
            while len(latencies) < 2 or time.perf_counter() < deadline:
                news = b"* %d EXISTS\r\n" % (len(latencies) + 1)
                begun = time.perf_counter()
                admin.send(append(_SCRATCH, [len(latencies)]), 1)
                deaf = set(idling)
                while deaf:
                    for fd, _ in wait(poll):
                        if idling[fd].feed_news(news):
                            deaf.discard(fd)
                latencies.append(time.perf_counter() - begun)
                while not admin.feed():
                    pass
                admin.response()
                for client in idling.values():
                    client.forget()
        poll.close()
        for client in idling.values():
            client.close()
        admin.command(f"DELETE {_SCRATCH}")
        admin.close()
        r.peer.settle()
        return Timing(len(latencies), sum(latencies), latencies)

    return run


def _idle(peer: Peer, n: int) -> list[Client]:
    clients = [peer.client(_SCRATCH) for _ in range(n)]
    for client in clients:
        client.idle()
    return clients


WORKLOADS = (
    Workload("connect, LOGIN, LOGOUT", connect_login_logout, sized=False),
    Workload("NOOP", loop(noop, one_core=True)),
    Workload("NOOP, 10 clients", loop(noop, 10), sized=False),
    Workload("NOOP, 100 pipelined", loop(noop_batch), sized=False),
    Workload("APPEND", appends(1), sized=False),
    Workload("APPEND, 8 clients", appends(8), sized=False),
    Workload("IDLE, 50 listeners", fan_out(50), sized=False, listeners=50),
    Workload("IDLE, 500 listeners", fan_out(500), sized=False, listeners=500),
    Workload("SELECT", loop(select_again, one_core=True)),
    Workload("STATUS", loop(status, selected=False, one_core=True)),
    Workload("FETCH 1:* (UID FLAGS)", loop(fetch_flags)),
    Workload("FETCH metadata, <=10k", loop(fetch_metadata)),
    Workload("FETCH headers, <=10k", loop(fetch_headers)),
    Workload("FETCH BODY[], <=2k", loop(fetch_whole)),
    Workload("UID FETCH one (FLAGS)", loop(fetch_flags_of_one, one_core=True)),
    Workload("UID FETCH one BODY[]", loop(fetch_whole_one, one_core=True)),
    Workload("STORE one", loop(store_one, pairs=True, one_core=True)),
    Workload("STORE 1:1000", loop(store_range, pairs=True, one_core=True)),
    Workload("SEARCH UNSEEN", loop(search_unseen, one_core=True)),
    Workload("SEARCH SINCE", loop(search_since, one_core=True)),
    Workload("SEARCH SUBJECT", loop(search_subject, one_core=True)),
    Workload("SEARCH BODY", loop(search_body), largest=BODY_SEARCH_CAP),
)
