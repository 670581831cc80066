"""What every benchmark shares: timing, statistics, the machine, tables, options."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Spread(NamedTuple):
    """The quartiles of repeated measurements."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        low, median, high = np.percentile(np.array(list(values)), [25, 50, 75]).tolist()
        return cls(low, median, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def time_calls(run: Callable[[], Any], seconds: float, sample: float = 2e-4) -> float:
    """The median seconds per call of `run`, over samples of at least `sample` seconds each.

    The first call is not counted: the caches and the thread pool are warm after it.
    """
    clock = time.perf_counter
    run()
    begin = clock()
    run()
    calls = max(1, round(sample / max(clock() - begin, 1e-8)))
    samples: list[float] = []
    end = clock() + seconds
    while len(samples) < 3 or clock() < end:
        begin = clock()
        for _ in range(calls):
            run()
        samples.append((clock() - begin) / calls)
    return statistics.median(samples)


def best_peer(times: dict[str, list[float]], ours: str = "babygrad") -> str | None:
    """Who of the others has the lowest median."""
    peers = [name for name in times if name != ours]
    return min(peers, key=lambda name: statistics.median(times[name]), default=None)


def ratio(times: dict[str, list[float]], ours: str = "babygrad") -> Spread | None:
    """How many times faster than the best peer: the quartiles over rounds, None without a peer."""
    peer = best_peer(times, ours)
    if peer is None:
        return None
    return Spread.of(p / b for p, b in zip(times[peer], times[ours], strict=True))


# ----- The machine -----


def describe_machine(threads: int) -> dict[str, Any]:
    """The processor, the system and the versions that the figures belong to."""
    versions = {}
    for package in ("babygrad", "numpy", "numba", "torch", "jax"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": _processor(),
        "instruction set": _instruction_set(),
        "processors available": len(available_cpus()),
        "threads": threads,
        "load before the run": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def available_cpus() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in lines)
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name", platform.machine())
    return f"{name}, family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"


def _instruction_set() -> str:
    try:
        from babygrad import _core
    except ImportError:
        return "babygrad's native engine is not built"
    return str(_core.isa())


# ----- Results -----


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> None:
    """The first column aligned left and the others right; in Markdown when asked for."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            c.rjust(w) if i else c.ljust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded)

    print(line(header))
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    print(line(rule) if markdown else line(["-" * w for w in widths]))
    for row in rows:
        print(line(row))
    print(flush=True)


def print_machine(machine: dict[str, Any], markdown: bool) -> None:
    print_table(["machine", ""], [[k, str(v)] for k, v in machine.items()], markdown)


def microseconds(seconds: float) -> str:
    micros = seconds * 1e6
    return f"{micros:,.2f}" if micros < 100 else f"{micros:,.0f}"


def percent(part: float | None, whole: float | None) -> str:
    return f"{100 * part / whole:.0f} %" if part and whole else "unknown"


# ----- Options -----


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that all commands have."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cpus = len(available_cpus())
    options.add_argument("--threads", type=int, default=cpus, help=f"default: all, {cpus} here")
    options.add_argument("--device", default="cpu:cpp", help="babygrad's; default: cpu:cpp")
    options.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    options.add_argument(
        "--peers", nargs="*", default=["torch", "jax"], help="default: torch jax, where installed"
    )
    options.add_argument("--only", default="", help="only what has this text in its name")
    options.add_argument("--json", type=Path, help="write all measurements to this file")
    options.add_argument("--markdown", action="store_true", help="print tables for README.md")
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    return options


def write_json(path: Path | None, machine: dict[str, Any], results: Any) -> None:
    if path is not None:
        path.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
