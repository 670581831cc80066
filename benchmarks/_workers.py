"""One process for each framework, of which exactly one works at a time.

Thread pools spin for a while after their work, and an allocator's habits show in the next
allocation. In processes of their own, with a pause before each turn, frameworks cannot disturb each
other; taking turns every few milliseconds, they see the same clock and the same neighbours.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from benchmarks._harness import available_cpus, time_calls

# Longer than the pool of any contestant spins. (OpenBLAS, which is none, spins for 40 to 65 ms.)
PAUSE = 0.03

THREAD_VARIABLES = (
    "BABYGRAD_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)


def installed(framework: str) -> bool:
    return importlib.util.find_spec(framework) is not None


def limit_threads(threads: int) -> None:
    """Give this process, and the frameworks it will import, that many processors."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        # JAX has no setting: it takes one thread for each processor that it may use.
        os.sched_setaffinity(0, available_cpus()[:threads])


class Worker:
    """A process that prepares tasks with `module.prepare(*arguments)` and times them.

    `prepare` returns the call to time and what the parent wants to know of it.
    """

    def __init__(self, module: str, threads: int) -> None:
        limit_threads(threads)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, module), daemon=True)
        self._process.start()
        theirs.close()

    def prepare(self, task: str, *arguments: Any) -> Any:
        return self._ask("prepare", task, *arguments)

    def time(self, task: str, seconds: float) -> float:
        """Seconds per call."""
        return float(self._ask("time", task, seconds))

    def forget(self) -> None:
        """Let go of all tasks."""
        self._ask("forget")

    def _ask(self, *question: Any) -> Any:
        self._connection.send(question)
        failed, answer = self._connection.recv()
        if failed:
            raise RuntimeError(answer)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.join(5)


def _serve(connection: Any, module: str) -> None:
    """Answer the parent until it hangs up."""
    implementation: Any = None
    tasks: dict[str, Callable[[], Any]] = {}
    while True:
        try:
            action, *arguments = connection.recv()
        except EOFError:
            return
        answer: Any = None
        try:
            implementation = implementation or importlib.import_module(module)
            if action == "prepare":
                tasks[arguments[0]], answer = implementation.prepare(*arguments[1:])
            elif action == "time":
                answer = time_calls(tasks[arguments[0]], arguments[1])
            else:
                tasks.clear()
            connection.send((False, answer))
        except Exception:
            connection.send(
                (True, f"{module}, {action} {arguments[:1]}:\n{traceback.format_exc()}")
            )


def take_turns(turns: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each once in every round, after a pause, starting with another one each time."""
    names: Sequence[str] = list(turns)
    results: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        first = i % len(names)
        for name in (*names[first:], *names[:first]):
            time.sleep(PAUSE)
            results[name].append(turns[name]())
    return results
