"""Single operations of babygrad against PyTorch's better memory format, in alternation.

    python -m benchmarks.grid --only matmul

Every result is compared with numpy's float64 before it is timed. What the columns mean is in
README.md.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import Any

from benchmarks._cases import Case, cases
from benchmarks._harness import (
    Spread,
    best_peer,
    describe_machine,
    microseconds,
    parser,
    percent,
    print_machine,
    print_table,
    ratio,
    write_json,
)
from benchmarks._peak import Gauge
from benchmarks._workers import Worker, installed, limit_threads, take_turns

HEADER = ["cell", "babygrad µs", "PyTorch µs", "ratio (quartiles)", "rate", "of limit", ""]


def variants(case: Case) -> list[str]:
    """PyTorch's ways to do it."""
    if case.group == "optimizers":
        return ["torch", "torch fused"]
    return ["torch", "torch channels_last"] if case.has_images else ["torch"]


def measure(
    case: Case, workers: dict[str, Worker], gauge: Gauge, options: argparse.Namespace
) -> dict[str, Any]:
    """Check and time one cell: the seconds per call of every round, and the limit beside it."""
    turns: dict[str, Any] = {}
    workers["babygrad"].prepare("babygrad", case, "babygrad", options.device)
    turns["babygrad"] = partial(workers["babygrad"].time, "babygrad", options.seconds)
    if "torch" in workers:
        for variant in variants(case):
            workers["torch"].prepare(variant, case, variant)
            turns[variant] = partial(workers["torch"].time, variant, options.seconds)
    turns["limit"] = (lambda: gauge.flops() or 0.0) if case.flops else gauge.copy
    times = take_turns(turns, options.rounds)
    limit = Spread.of(times.pop("limit")).median
    for worker in workers.values():
        worker.forget()
    work = {"flops": case.flops, "bytes": case.bytes}
    return {"group": case.group, "cell": case.name, **work, "limit": limit, "times": times}


def row(result: dict[str, Any]) -> list[str]:
    times = result["times"]
    ours, peer, faster = Spread.of(times["babygrad"]).median, best_peer(times), ratio(times)
    rate = (result["flops"] or result["bytes"]) / ours
    return [
        result["cell"],
        microseconds(ours),
        microseconds(Spread.of(times[peer]).median) if peer else "none",
        str(faster) if faster else "none",
        f"{rate / 1e9:.1f} {'GFLOP/s' if result['flops'] else 'GB/s'}",
        percent(rate, result["limit"]),
        "slower" if faster and faster.median < 1 else "",
    ]


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    options = parser(__doc__ or "", rounds=9)
    options.add_argument("--seconds", type=float, default=0.03, help="per turn, default: 0.03")
    chosen = options.parse_args(arguments)
    machine = describe_machine(chosen.threads)
    limit_threads(chosen.threads)
    gauge = Gauge(chosen.threads)
    wanted = [c for c in cases(chosen.quick) if chosen.only in f"{c.group}, {c.name}"]
    results = []
    with ExitStack() as stack:
        workers = {
            framework: stack.enter_context(
                Worker(f"benchmarks.operations_{framework}", chosen.threads)
            )
            for framework in ("babygrad", *chosen.peers)
            if framework in ("babygrad", "torch") and installed(framework)
        }
        for case in wanted:
            print(f"{case.group}: {case.name}", file=sys.stderr)
            results.append(measure(case, workers, gauge, chosen))
    print_machine(machine, chosen.markdown)
    for group, cells in groupby(results, lambda result: result["group"]):
        print(f"### {group}\n" if chosen.markdown else group)
        print_table(HEADER, [row(cell) for cell in cells], chosen.markdown)
    slower = sum(row(result)[-1] == "slower" for result in results)
    print(f"{slower} of {len(results)} cells are slower than PyTorch.")
    write_json(chosen.json, machine, results)
    return results


if __name__ == "__main__":
    main()
