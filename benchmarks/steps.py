"""The five training steps of babygrad, PyTorch and JAX, in alternation.

    python -m benchmarks.steps

Every framework starts from the same weights on the same data; the losses of the first steps and the
weights after them are compared before anything is timed. What the columns mean is in README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

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
from benchmarks._training import STEPS, check_losses, check_weights
from benchmarks._workers import Worker, installed, limit_threads, take_turns

FRAMEWORKS = {
    "babygrad": ["babygrad"],
    "torch": ["torch", "torch channels_last"],
    "jax": ["jax"],
}
HEADER = ["step", "babygrad µs", "best peer µs", "peer", "ratio (quartiles)", "of peak"]


def contestants(name: str, frameworks: Iterable[str]) -> list[tuple[str, str]]:
    """Framework and variant. The memory format matters to images only."""
    images = len(STEPS[name].shape) == 3
    return [
        (framework, variant)
        for framework in frameworks
        for variant in FRAMEWORKS[framework]
        if images or variant != "torch channels_last"
    ]


def measure(
    name: str, workers: dict[str, Worker], gauge: Gauge, options: argparse.Namespace
) -> dict[str, Any]:
    """Check one step against the others and time it: the seconds per step of every round."""
    print(STEPS[name].title, file=sys.stderr)
    step, turns, start, expected = STEPS[name], {}, None, None
    for framework, variant in contestants(name, workers):
        extra = {"babygrad": [options.device], "torch": [options.fused], "jax": []}[framework]
        first, losses, weights = workers[framework].prepare(
            variant, name, variant, options.quick, start, *extra
        )
        if expected is None:
            start, expected = first, (losses, weights)
        else:
            check_losses(f"{name}, {variant}", losses, expected[0])
            check_weights(f"{name}, {variant}", first, weights, expected[1])
        turns[variant] = partial(workers[framework].time, variant, options.seconds)
    peaks = take_turns({**turns, "peak": lambda: gauge.flops() or 0.0}, options.rounds)
    peak = Spread.of(peaks.pop("peak")).median
    for worker in workers.values():
        worker.forget()
    batch = 4 if options.quick else step.batch
    return {"step": step.title, "flops": batch * step.flops, "peak": peak, "times": peaks}


def row(result: dict[str, Any]) -> list[str]:
    times = result["times"]
    ours, peer = Spread.of(times["babygrad"]).median, best_peer(times)
    return [
        result["step"],
        microseconds(ours),
        microseconds(Spread.of(times[peer]).median) if peer else "none",
        peer or "none",
        str(ratio(times)) if peer else "none",
        percent(result["flops"] / ours, result["peak"]),
    ]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__ or "", rounds=15)
    options.add_argument("--seconds", type=float, default=0.3, help="per turn, default: 0.3")
    options.add_argument("--fused", action="store_true", help="PyTorch's fused optimizers")
    chosen = options.parse_args(arguments)
    machine = describe_machine(chosen.threads)
    limit_threads(chosen.threads)
    gauge = Gauge(chosen.threads)
    names = [name for name in STEPS if chosen.only in name]
    with ExitStack() as stack:
        workers = {
            framework: stack.enter_context(Worker(f"benchmarks.models_{framework}", chosen.threads))
            for framework in ("babygrad", *chosen.peers)
            if installed(framework)
        }
        results = {name: measure(name, workers, gauge, chosen) for name in names}
    print_machine(machine, chosen.markdown)
    print_table(HEADER, [row(result) for result in results.values()], chosen.markdown)
    write_json(chosen.json, machine, results)
    return results


if __name__ == "__main__":
    main()
