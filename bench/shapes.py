"""Facts that are no rate: memory per connection and per message, and how long one client waits
beside a greedy one."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Event
from typing import NamedTuple

from . import proc
from .client import Client, Failure, closed_loop
from .servers import Peer
from .workloads import Box, contains, line, noop


class IdleMemory(NamedTuple):
    """PSS of the server with no, half of the, and all connections."""

    connections: int
    empty_bytes: int
    half_bytes: int
    full_bytes: int


def idle_memory(peer: Peer, box: Box, connections: int) -> IdleMemory:
    """Connections that have selected the mailbox and rest.

    The first ones partly live in memory that the allocator had left from loading, so the cost of
    one is best taken from the second half.
    """
    pss: list[int] = []
    clients: list[Client] = []
    for n in (0, connections // 2, connections):
        clients += [peer.client(box.name) for _ in range(n - len(clients))]
        peer.settle()
        pss.append(peer.pss_bytes())
    for client in clients:
        client.close()
    peer.settle()
    return IdleMemory(connections, *pss)


class Loaded(NamedTuple):
    box: Box
    seconds: float
    growth: int
    """PSS in bytes that the mail added."""


def load(peer: Peer, n: int) -> Loaded:
    """Fill a mailbox, and check that it holds what was sent, in order."""
    name = f"Bench{n}"
    if peer.mail_in_memory:
        peer.load("Warm", 100)  # code that is loaded once is not the mail's
    peer.settle()
    before, begun = peer.pss_bytes(), time.monotonic()
    peer.load(name, n)
    seconds = time.monotonic() - begun
    peer.settle()
    growth = peer.pss_bytes() - before
    client = peer.client()
    exists = client.select(name)
    if exists != n:
        raise Failure(f"{peer.name}: {n} messages were loaded, {name} has {exists}")
    first, last = (_uid(client.command(f"FETCH {seq} (UID)")) for seq in (1, n))
    if last - first != n - 1:
        raise Failure(f"{peer.name}: UIDs {first}..{last} of {n} new messages have gaps")
    client.close()
    return Loaded(Box(name, n, first), seconds, growth)


def _uid(response: bytes) -> int:
    words = response[: response.index(b")")].split()
    return int(words[-1])


class Waiting(NamedTuple):
    """NOOP latencies of one client, alone and while another fetches the whole mailbox, in s."""

    alone: list[float]
    beside: list[float]
    fetches: int


def interference(peer: Peer, box: Box, seconds: float) -> Waiting:
    """The fetcher is a process of its own, so that its work is not in the latencies."""
    client = peer.client(box.name)
    with proc.on_one_core(peer.pid):
        alone = closed_loop(client, noop(box), seconds).latencies
    context = multiprocessing.get_context("fork")
    started, stop = context.Event(), context.Event()
    fetches = context.Value("i", 0)

    def greedy() -> None:
        other = peer.client(box.name)
        check = contains(b" FETCH (", box.n)
        while not stop.is_set():
            started.set()
            check(other.ask(line("FETCH 1:* (UID FLAGS ENVELOPE)")))
            fetches.value += 1

    process = context.Process(target=greedy)
    process.start()
    try:
        _await(started)
        time.sleep(0.1)
        beside = closed_loop(client, noop(box), seconds).latencies
    finally:
        stop.set()
        process.join(120)
    if process.exitcode != 0:
        raise Failure(f"{peer.name}: the greedy FETCH failed (see above)")
    client.close()
    return Waiting(alone, beside, fetches.value)


def _await(event: Event) -> None:
    if not event.wait(30):
        raise Failure("the greedy client did not start")
