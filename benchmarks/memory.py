"""The peak memory of a training step: babygrad and PyTorch, each in a process of its own.

    python -m benchmarks.memory

What is counted is in README.md.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._harness import (
    describe_machine,
    parser,
    print_machine,
    print_table,
    write_json,
)
from benchmarks._training import ALL_STEPS
from benchmarks._workers import installed, limit_threads

NAMES = ("resnet", "mlp-deep")
STEPS = 4
HEADER = ["step", "babygrad MB", "PyTorch MB", "layout", "babygrad / PyTorch"]


def resident(field: str) -> int:
    """VmRSS, the resident memory, or VmHWM, its peak, of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def give_back() -> None:
    """Return all memory that is free to the system."""
    gc.collect()
    with suppress(ImportError):
        from babygrad import _core

        _core.empty_cache()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def peak_of(training_step: Callable[[bool], Callable[[], float]]) -> int:
    """What a few steps add to the resident memory, at most.

    Four samples are trained on before: code, thread pools and buffers that any use needs once are
    not counted. The model, its gradients, the optimizer's state and all caches are.
    """
    training_step(True)()
    give_back()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    run = training_step(False)
    for _ in range(STEPS):
        run()
    return resident("VmHWM") - before


def babygrad_peak(name: str, device: str, quick: bool) -> int:
    from benchmarks import models_babygrad

    return peak_of(lambda tiny: models_babygrad.training_step(name, device, tiny or quick)[1])


def torch_peak(name: str, variant: str, quick: bool) -> int:
    from benchmarks import models_torch

    return peak_of(lambda tiny: models_torch.training_step(name, variant, tiny or quick)[1])


def in_a_process(function: Callable[..., int], *arguments: Any) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def measure(name: str, device: str, peers: list[str], quick: bool, rounds: int) -> dict[str, int]:
    """The median of several processes: a heap's holes are not the same twice."""
    peaks: dict[str, list[int]] = {}
    variants = ["torch", "torch channels_last"] if len(ALL_STEPS[name].shape) == 3 else ["torch"]
    for _ in range(rounds):
        peaks.setdefault("babygrad", []).append(in_a_process(babygrad_peak, name, device, quick))
        for variant in variants if "torch" in peers and installed("torch") else []:
            peaks.setdefault(variant, []).append(in_a_process(torch_peak, name, variant, quick))
    return {variant: int(median(found)) for variant, found in peaks.items()}


def row(name: str, peaks: dict[str, int]) -> list[str]:
    ours = peaks["babygrad"]
    peers = {variant: peak for variant, peak in peaks.items() if variant != "babygrad"}
    if not peers:
        return [ALL_STEPS[name].title, f"{ours / 1e6:.1f}", "none", "none", "none"]
    best = min(peers, key=lambda variant: peers[variant])
    figures = [f"{ours / 1e6:.1f}", f"{peers[best] / 1e6:.1f}", best, f"{ours / peers[best]:.2f}"]
    return [ALL_STEPS[name].title, *figures]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    chosen = parser(__doc__ or "", rounds=5).parse_args(arguments)
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("benchmarks.memory needs Linux: it reads the peak in /proc")
    machine = describe_machine(chosen.threads)
    limit_threads(chosen.threads)
    results = {
        name: measure(name, chosen.device, chosen.peers, chosen.quick, chosen.rounds)
        for name in NAMES
        if chosen.only in name
    }
    print_machine(machine, chosen.markdown)
    print_table(HEADER, [row(name, peaks) for name, peaks in results.items()], chosen.markdown)
    write_json(chosen.json, machine, results)
    return results


if __name__ == "__main__":
    main()
