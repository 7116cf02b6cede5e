"""What a server costs, read from /proc: CPU time and memory of its whole process tree."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> dict[int, list[bytes]]:
    """pid -> fields of /proc/pid/stat from the state on, for `root` and all its descendants."""
    stats: dict[int, list[bytes]] = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_bytes().rpartition(b") ")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            stats[int(entry)] = fields
            children.setdefault(int(fields[1]), []).append(int(entry))
    found: dict[int, list[bytes]] = {}
    todo = [root]
    while todo:
        pid = todo.pop()
        if pid in stats:
            found[pid] = stats[pid]
            todo += children.get(pid, [])
    return found


def cpu_s(root: int) -> float:
    """utime + stime of the tree since its start, with the children it has reaped.

    The living are read from their POSIX CPU clock in nanoseconds, since /proc counts in ticks of
    10 ms; the reaped are known in ticks only.
    """
    total = 0.0
    for pid, fields in tree(root).items():
        try:
            # clock_getcpuclockid(3), which Python does not have: all threads of the process.
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:  # a zombie has no clock any more
            total += (int(fields[11]) + int(fields[12])) * _TICK_S
        total += (int(fields[13]) + int(fields[14])) * _TICK_S
    return total


def pss_bytes(root: int) -> int:
    """Proportional set size of the tree: a page that k processes share counts 1/k in each."""
    total = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(ln.split()[1]) for ln in text.splitlines() if ln.startswith("Pss:"))
    return total * 1024


@contextmanager
def on_one_core(root: int) -> Iterator[None]:
    """The tree and this process share one core in here.

    With one request in flight only one of the two has work. On two cores each waits asleep for the
    other, and waking a core costs more than a NOOP: 30-60 us on a virtual machine, or nothing
    when a neighbour happens to keep it awake. On one core the hand-over is a task switch.
    """
    cores = os.sched_getaffinity(0)
    core = {max(cores)}
    pinned = [0]
    for pid in tree(root):
        with suppress(OSError):
            pinned += [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
    try:
        _set_affinity(pinned, core)
        yield
    finally:
        _set_affinity(pinned, cores)


def _set_affinity(tids: list[int], cores: set[int]) -> None:
    for tid in tids:
        with suppress(OSError):  # it has ended meanwhile
            os.sched_setaffinity(tid, cores)


def settle(root: int, limit_s: float = 20.0) -> None:
    """Wait until the tree rests: processes of closed connections ended, background work done."""
    deadline = time.monotonic() + limit_s
    before, quiet = (cpu_s(root), len(tree(root))), 0
    while quiet < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
        now = (cpu_s(root), len(tree(root)))
        quiet = quiet + 1 if now[0] - before[0] < 0.002 and now[1] == before[1] else 0
        before = now
