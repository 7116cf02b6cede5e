"""The benchmark's command: load mailboxes, let the peers take turns, print one page."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from . import messages
from .client import Failure
from .report import Results, Row, machine, page, percentile
from .servers import PEERS, Peer
from .shapes import idle_memory, interference, load
from .workloads import WORKLOADS, Box, Round, Workload

_MEAN_OF = 2000


class Plan(NamedTuple):
    """How much of everything."""

    sizes: list[int]
    rounds: int
    slot_s: float
    connections: int
    interference_s: float
    only: str = ""


def main() -> int:
    args = _arguments()
    plan = Plan(args.messages, args.rounds, 0.4, 1000, 3.0, args.only)
    if args.quick:
        plan = Plan([1000], 1, 0.2, 200, 1.0, args.only)
    kinds: list[type[Peer]] = []
    for name in args.peers:
        needs = PEERS[name].needs
        if needs is not None and shutil.which(needs) is None:
            _say(f"{name}: {needs} is not installed, left out")
        else:
            kinds.append(PEERS[name])
    begun = time.monotonic()
    try:
        results = measure(plan, kinds)
    except Failure as exc:
        _say(f"FAILED: {exc}")
        return 1
    print(page(results))
    print(f"\ntook {time.monotonic() - begun:.0f} s")
    if args.json:
        args.json.write_text(json.dumps(results.raw(), indent=1))
    return 0


def measure(plan: Plan, kinds: list[type[Peer]]) -> Results:
    octets = [len(messages.message(i)) for i in range(_MEAN_OF)]
    results = Results(
        {
            "machine": machine(Path(tempfile.gettempdir())),
            "peers": {},
            "mail": f"{min(octets)}-{max(octets)} octets, mean {sum(octets) / _MEAN_OF:.0f}",
            "mean_bytes": sum(octets) / _MEAN_OF,
            **plan._asdict(),
        }
    )
    for n in plan.sizes:
        # New servers for each size: memory that earlier workloads freed, and the
        # allocator kept, would hide what mail and connections need.
        peers: list[Peer] = []
        try:
            for kind in kinds:
                peers.append(kind())
                peers[-1].start()
                results.settings["peers"][kind.name] = f"{peers[-1].version()} ({kind.note})"
            _measure_size(results, plan, peers, n)
        finally:
            for peer in peers:
                peer.stop()
    return results


def _measure_size(results: Results, plan: Plan, peers: list[Peer], n: int) -> None:
    chosen = [w for w in WORKLOADS if plan.only.lower() in w.name.lower()]
    boxes = {peer.name: _load(results, peer, n) for peer in peers}
    if n == plan.sizes[0]:
        if not plan.only:
            _idle(results, peers, boxes, plan.connections)
        for workload in (w for w in chosen if not w.sized):
            _run(results, workload, peers, boxes, plan)
    for workload in (w for w in chosen if w.sized):
        if workload.largest is None or n <= workload.largest:
            _run(results, workload, peers, boxes, plan)
    if n == plan.sizes[-1] and not plan.only:
        _interference(results, peers, boxes, plan.interference_s)


def _load(results: Results, peer: Peer, n: int) -> Box:
    _say(f"{peer.name}: loading {n:,} messages")
    loaded = load(peer, n)
    results.loads.append(
        {
            "peer": peer.name,
            "messages": n,
            "seconds": loaded.seconds,
            "growth_bytes": loaded.growth if peer.mail_in_memory else None,
            "mean_bytes": results.settings["mean_bytes"],
        }
    )
    return loaded.box


def _run(
    results: Results,
    workload: Workload,
    peers: list[Peer],
    boxes: dict[str, Box],
    plan: Plan,
) -> None:
    for k in range(plan.rounds):
        # Alternating, and each in turn first: a slow drift of the machine hits all alike.
        for peer in peers if k % 2 == 0 else peers[::-1]:
            why = peer.cannot_tell(workload.listeners)
            if why is not None:
                if k == 0:
                    results.skipped.append((workload.name, peer.name, why))
                continue
            box = boxes[peer.name]
            one = Round(peer, box, plan.slot_s)
            begun = time.monotonic()
            try:
                timing = workload.run(one)
            except Failure as exc:
                raise Failure(f"{peer.name}, {workload.name}, {box.n} messages: {exc}") from exc
            rate = timing.ops / timing.elapsed_s
            _say(
                f"{peer.name}: {workload.name}, {box.n:,}, round {k + 1}: {rate:,.1f}/s"
                f" (took {time.monotonic() - begun:.1f} s)"
            )
            results.rows.append(
                Row(
                    workload.name,
                    box.n if workload.sized else None,
                    peer.name,
                    timing.ops,
                    timing.elapsed_s,
                    percentile(timing.latencies, 0.5),
                    percentile(timing.latencies, 0.99),
                    max(timing.latencies),
                    one.server_cpu_s,
                    max(0.0, one.generator_cpu_s - timing.aside_s),
                )
            )


def _idle(results: Results, peers: list[Peer], boxes: dict[str, Box], connections: int) -> None:
    for peer in peers:
        _say(f"{peer.name}: memory of {connections} idle connections")
        idle = idle_memory(peer, boxes[peer.name], connections)
        results.idle.append({"peer": peer.name, **idle._asdict()})


def _interference(
    results: Results, peers: list[Peer], boxes: dict[str, Box], seconds: float
) -> None:
    for peer in peers:
        box = boxes[peer.name]
        _say(f"{peer.name}: NOOP beside a large FETCH")
        waiting = interference(peer, box, seconds)
        results.interference.append(
            {
                "peer": peer.name,
                "messages": box.n,
                "alone": _summary(waiting.alone),
                "beside": _summary(waiting.beside),
                "fetches": waiting.fetches,
            }
        )


def _summary(latencies: list[float]) -> dict[str, float]:
    return {
        "p50_s": percentile(latencies, 0.5),
        "p99_s": percentile(latencies, 0.99),
        "max_s": max(latencies),
        "count": len(latencies),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    def sizes(text: str) -> list[int]:
        return sorted(int(word) for word in text.split(","))

    def peers(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in PEERS:
                raise argparse.ArgumentTypeError(f"{name}: not one of {', '.join(PEERS)}")
        return names

    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--messages", type=sizes, default=[1000, 10_000, 100_000])
    parser.add_argument("--peers", type=peers, default=["pymap-dict", "pymap-maildir", "dovecot"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every round here")
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--quick", action="store_true", help="1,000 messages, one round, < 60 s")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
