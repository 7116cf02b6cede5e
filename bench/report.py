"""From raw rounds to the printed page."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

REFERENCE = "dovecot"
_BOUND = 0.85


@dataclass(frozen=True)
class Row:
    """One round of one workload, peer and mailbox size. Times in seconds."""

    workload: str
    messages: int | None
    peer: str
    ops: int
    elapsed_s: float
    p50_s: float
    p99_s: float
    max_s: float
    server_cpu_s: float
    generator_cpu_s: float


@dataclass
class Results:
    settings: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    """(workload, peer, why)"""
    loads: list[dict[str, Any]] = field(default_factory=list)
    idle: list[dict[str, Any]] = field(default_factory=list)
    interference: list[dict[str, Any]] = field(default_factory=list)

    def raw(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Cell:
    """Medians over the rounds; CPU per operation is total over total, since it adds up."""

    rate: float
    p50_s: float
    p99_s: float
    cpu_s: float
    generator_s: float
    generator_bound: bool
    """The generator was busy almost all the time: the server could do more than `rate`."""


def cell(rows: Sequence[Row]) -> Cell:
    ops = sum(r.ops for r in rows)
    return Cell(
        statistics.median(r.ops / r.elapsed_s for r in rows),
        statistics.median(r.p50_s for r in rows),
        statistics.median(r.p99_s for r in rows),
        sum(r.server_cpu_s for r in rows) / ops,
        sum(r.generator_cpu_s for r in rows) / ops,
        sum(r.generator_cpu_s for r in rows) > _BOUND * sum(r.elapsed_s for r in rows),
    )


def percentile(latencies: Iterable[float], q: float) -> float:
    """Nearest rank; of a few values the 99th percentile is the largest."""
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


# -- the page --


def page(results: Results) -> str:
    peers = results.settings["peers"]
    parts = [
        _settings(results.settings),
        _main_table(results, list(peers)),
        _skipped(results),
        _loads(results),
        _idle(results),
        _curve(results, [p for p in peers if p.startswith("pymap")] or list(peers)),
        _interference(results),
    ]
    return "\n\n".join(part for part in parts if part)


def _settings(settings: dict[str, Any]) -> str:
    lines = [f"{key}: {value}" for key, value in settings["machine"].items()]
    lines += [f"{name}: {text}" for name, text in settings["peers"].items()]
    lines.append(f"mail: {settings['mail']}")
    lines.append(f"rounds: {settings['rounds']} alternating, medians; {settings['slot_s']} s each")
    lines.append("cores: server and generator share one while one small answer is awaited")
    return "\n".join(lines)


def _main_table(results: Results, peers: list[str]) -> str:
    groups: dict[tuple[str, int | None], dict[str, list[Row]]] = {}
    for row in results.rows:
        by_peer = groups.setdefault((row.workload, row.messages), {})
        by_peer.setdefault(row.peer, []).append(row)
    others = [p for p in peers if p != REFERENCE] if REFERENCE in peers else []
    head = f"{'':23} {'':>7}" + "".join(f" | {peer:^41}" for peer in peers)
    columns = f"{'ops/s':>9} {'p50':>7} {'p99':>7} {'cpu/op':>7} {'gen':>7}"
    legend = f"{'workload':23} {'mails':>7}" + f" | {columns}" * len(peers)
    for peer in others:
        head += f" | {peer + '/' + REFERENCE:>12}" if len(others) > 1 else " |   to dovecot"
        legend += f" | {'ops/s':>6} {'cpu':>5}"
    lines = [head, legend, "-" * len(legend)]
    for (workload, messages), by_peer in groups.items():
        cells = {peer: cell(rows) for peer, rows in by_peer.items()}
        size = f"{messages:,}" if messages is not None else "-"
        text = f"{workload:23} {size:>7}"
        for peer in peers:
            text += " | " + (_cell(cells[peer]) if peer in cells else f"{'n/a':^41}")
        for peer in others:
            text += " | " + _ratio(cells.get(peer), cells.get(REFERENCE))
        lines.append(text)
    lines.append(
        "cpu/op: user and system time of the server's whole process tree; gen: CPU of the load "
        f"generator per operation, * where it was busy over {_BOUND:.0%} of the time (then ops/s "
        "and latency are the generator's limit; cpu/op still holds)."
    )
    if others:
        lines.append(
            f"to {REFERENCE}: operations per second as a multiple of {REFERENCE}'s (more is "
            "better), CPU per operation as a fraction of it (less is better)."
        )
    return "\n".join(lines)


def _cell(c: Cell) -> str:
    return (
        f"{_number(c.rate):>9} {_time(c.p50_s):>7} {_time(c.p99_s):>7} "
        f"{_time(c.cpu_s):>7} {_time(c.generator_s) + '*' * c.generator_bound:>7}"
    )


def _ratio(ours: Cell | None, theirs: Cell | None) -> str:
    if ours is None or theirs is None:
        return f"{'n/a':>12}"
    rate = ours.rate / theirs.rate
    cpu = f"{ours.cpu_s / theirs.cpu_s:.2f}" if theirs.cpu_s > 0 else "n/a"
    return f"{f'{rate:.0f}x' if rate >= 10 else f'{rate:.2f}x':>6} {cpu:>5}"


def _skipped(results: Results) -> str:
    return "\n".join(
        f"n/a: {workload} with {peer}: {why}" for workload, peer, why in results.skipped
    )


def _loads(results: Results) -> str:
    lines = ["Loading, and memory (PSS) that the mail added"]
    for e in results.loads:
        text = f"  {e['peer']:14} {e['messages']:>8,} messages in {e['seconds']:6.1f} s"
        if e["growth_bytes"] is None:
            text += "; memory: not applicable"
        else:
            per = e["growth_bytes"] / e["messages"]
            text += f"; {per:,.0f} B per message (of {e['mean_bytes']:,.0f} B)"
        lines.append(text)
    return "\n".join(lines) if results.loads else ""


def _idle(results: Results) -> str:
    lines = ["Memory (PSS) of idle connections with a selected mailbox"]
    for e in results.idle:
        n = e["connections"]
        per = (e["full_bytes"] - e["half_bytes"]) / (n - n // 2)
        empty, half, full = (e[f"{key}_bytes"] / 2**20 for key in ("empty", "half", "full"))
        lines.append(
            f"  {e['peer']:14} {empty:.1f} MiB with 0, {half:.1f} with {n // 2}, "
            f"{full:.1f} with {n}: {per / 1024:.1f} KiB each (of the second half)"
        )
    return "\n".join(lines) if results.idle else ""


_CURVE = ("NOOP", "UID FETCH one (FLAGS)", "STORE one")


def _curve(results: Results, peers: Sequence[str]) -> str:
    sizes = sorted({row.messages for row in results.rows if row.messages is not None})
    if len(sizes) < 2:
        return ""
    lines = ["p50 by mailbox size (should be flat)"]
    lines.append(f"  {'':38}" + "".join(f"{size:>10,}" for size in sizes))
    for peer in peers:
        for workload in _CURVE:
            text = f"  {peer:14} {workload:23}"
            for size in sizes:
                rows = [
                    row
                    for row in results.rows
                    if (row.workload, row.messages, row.peer) == (workload, size, peer)
                ]
                text += f"{_time(cell(rows).p50_s) if rows else 'n/a':>10}"
            lines.append(text)
    return "\n".join(lines)


def _interference(results: Results) -> str:
    if not results.interference:
        return ""
    n = results.interference[0]["messages"]
    lines = [f"NOOP beside another client's FETCH 1:* (UID FLAGS ENVELOPE) of {n:,} messages"]
    for e in results.interference:
        alone, beside = (
            ", ".join(f"{key} {_time(e[name][key + '_s'])}" for key in ("p50", "p99", "max"))
            for name in ("alone", "beside")
        )
        lines.append(f"  {e['peer']:14} alone: {alone}; beside: {beside} ({e['fetches']} fetches)")
    return "\n".join(lines)


def _number(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def _time(s: float) -> str:
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if s * factor < 1000:
            return f"{s * factor:.3g}{unit}" if s * factor < 99.5 else f"{s * factor:.0f}{unit}"
    return f"{s:.3g}s"


# -- where it ran --


def machine(where: Path) -> dict[str, str]:
    model = "unknown CPU"
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            model = text.partition(":")[2].strip()
            break
    return {
        "machine": f"{os.cpu_count()} cores, {model}, load {os.getloadavg()[0]:.2f} at the start",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "mail below": f"{where} ({_filesystem(where)})",
    }


def _filesystem(where: Path) -> str:
    best, kind = "", "unknown"
    for text in Path("/proc/mounts").read_text().splitlines():
        _, mount, fs = text.split()[:3]
        if str(where).startswith(mount) and len(mount) > len(best):
            best, kind = mount, fs
    return kind
