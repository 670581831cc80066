"""What a small operation costs: babygrad and PyTorch in alternation, in one process, on one thread.

    python -m benchmarks.overhead

The arithmetic is next to nothing, so that the time is that of the library around it. What the
figures mean is in README.md.
"""

from __future__ import annotations

import operator
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._harness import (
    Spread,
    describe_machine,
    parser,
    print_machine,
    print_table,
    ratio,
    write_json,
)
from benchmarks._workers import available_cpus, installed, limit_threads, take_turns

Call = Callable[[], Any]
HEADER = ["work", "babygrad µs", "PyTorch µs", "ratio (quartiles)", "ratio of minima"]
VALUES = np.random.default_rng(0).standard_normal((2, 4, 4), dtype=np.float32)
IMPORT = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


def babygrad_work(device: str) -> dict[str, Call]:
    import babygrad
    from babygrad import Tensor, nn, optim

    with babygrad.device(device):
        x, y = (Tensor(values, requires_grad=True) for values in VALUES)
        model = nn.Sequential(
            nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
        )
        sample = Tensor(VALUES[:1].reshape(1, 16))
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    return _work(x, y, model, sample, optimizer)


def torch_work() -> dict[str, Call]:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    x, y = (torch.tensor(values, requires_grad=True) for values in VALUES)
    model = nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return _work(x, y, model, torch.tensor(VALUES[:1].reshape(1, 16)), optimizer)


def _work(x: Any, y: Any, model: Any, sample: Any, optimizer: Any) -> dict[str, Call]:
    """The same code serves both libraries."""

    def backward() -> None:
        x.grad = y.grad = None
        ((x * y + y) * x).sum().backward()

    def train() -> None:
        optimizer.zero_grad()
        model(sample).sum().backward()
        optimizer.step()

    return {
        "x * y, 4x4, with its node": lambda: x * y,
        "((x * y + y) * x).sum(), backward": backward,
        "MLP 16-32-32-1, batch 1, SGD step": train,
    }


def check(device: str, peers: list[str]) -> None:
    """Both libraries must find the gradients of ((x * y + y) * x).sum()."""
    import babygrad

    with babygrad.device(device):
        pairs = [[babygrad.Tensor(values, requires_grad=True) for values in VALUES]]
    if "torch" in peers:
        import torch

        pairs.append([torch.tensor(values, requires_grad=True) for values in VALUES])
    x, y = VALUES.astype(np.float64)
    for a, b in pairs:
        ((a * b + b) * a).sum().backward()
        np.testing.assert_allclose(np.asarray(a.grad), 2 * x * y + y, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(np.asarray(b.grad), x * x + x, rtol=1e-5, atol=1e-6)


def burst(call: Call, calls: int) -> Callable[[], float]:
    """Seconds per call in a short burst of calls."""

    def run() -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) / calls

    return run


def native_call(rounds: int, calls: int) -> dict[str, list[float]] | None:
    """A kernel on 16 numbers beside a builtin that does nothing with two arguments."""
    try:
        from babygrad import _core
    except ImportError:
        return None
    add = _core.bind("add", np.add)
    a, b = VALUES
    np.testing.assert_array_equal(add(a, b), a + b)
    turns = {
        "kernel": burst(lambda: add(a, b), calls),
        "nothing": burst(lambda: operator.is_(a, b), calls),
        "numpy": burst(lambda: np.add(a, b), calls),
    }
    return take_turns(turns, rounds)


def dispatches(rounds: int, cpus: list[int]) -> list[float] | None:
    """Seconds to hand an empty job of two parts to the warm thread pool and to wait for its end."""
    try:
        from babygrad import _core
    except ImportError:
        return None
    _core.set_num_threads(2)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)  # before the first job, which starts the second thread
    try:
        return [_core._dispatch_nanoseconds(1000) * 1e-9 for _ in range(rounds + 1)][1:]
    finally:
        _core.set_num_threads(1)
        limit_threads(1)


def import_seconds(module: str) -> float:
    """How long a fresh interpreter takes for the import."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-c", IMPORT.format(module)]
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    return float(answer.stdout)


def row(name: str, times: dict[str, list[float]]) -> list[str]:
    ours, peer = times["babygrad"], times.get("torch")
    return [
        name,
        f"{statistics.median(ours) * 1e6:.2f}",
        f"{statistics.median(peer) * 1e6:.2f}" if peer else "none",
        str(ratio(times)) if peer else "none",
        f"{min(peer) / min(ours):.2f}" if peer else "none",
    ]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    chosen = parser(__doc__ or "", rounds=301).parse_args(arguments)
    calls = 3 if chosen.quick else 50
    machine, cpus = describe_machine(1), available_cpus()
    limit_threads(1)
    peers = [peer for peer in chosen.peers if peer == "torch" and installed(peer)]
    check(chosen.device, peers)
    work = {"babygrad": babygrad_work(chosen.device)}
    if peers:
        work["torch"] = torch_work()
    results: dict[str, Any] = {}
    for name in work["babygrad"]:
        turns = {library: burst(calls_of[name], calls) for library, calls_of in work.items()}
        take_turns(turns, 10)  # to warm up
        results[name] = take_turns(turns, chosen.rounds)
    print_machine(machine, chosen.markdown)
    print_table(HEADER, [row(name, times) for name, times in results.items()], chosen.markdown)

    results["native call"] = native = native_call(chosen.rounds, 4 * calls)
    if native is not None:
        medians = {name: Spread.of(values).median * 1e9 for name, values in native.items()}
        cost = medians["kernel"] - medians["nothing"]
        print(
            f"A native add of 16 numbers costs {cost:.0f} ns more than a call that does nothing "
            f"({medians['nothing']:.0f} ns); numpy's costs {medians['numpy']:.0f} ns in all."
        )
    results["dispatch"] = dispatched = dispatches(chosen.rounds, cpus)
    if dispatched is not None:
        print(
            f"An empty job for two threads takes {1e6 * statistics.median(dispatched):.2f} us, at "
            f"best {1e6 * min(dispatched):.2f}, when they are awake."
        )
    turns = {name: lambda m=name: import_seconds(m) for name in ("babygrad", "numpy")}  # type: ignore[misc]
    results["import"] = imports = take_turns(turns, 2 if chosen.quick else 11)
    ours, theirs = (1e3 * statistics.median(imports[name]) for name in ("babygrad", "numpy"))
    print(
        f"import babygrad: {ours:.0f} ms, {ours - theirs:.0f} ms more than numpy's {theirs:.0f} ms."
    )
    write_json(chosen.json, machine, results)
    return results


if __name__ == "__main__":
    main()
