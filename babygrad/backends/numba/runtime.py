"""How kernels are compiled and run.

`kernel` turns a function with ``prange`` loops into two Numba functions, a parallel and a serial
one, each compiled on its first call. Both do the same arithmetic in the same order: a kernel splits
its work by size and never by the number of threads, so results are the same bits in either.

The parallel one runs when the work is large enough and no other Python thread is in one (Numba's
``workqueue`` layer aborts the process on concurrent calls). A child of ``fork()`` inherits
no worker threads and runs everything serially.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
from numba.core.errors import NumbaError

from babygrad import _environment, _launcher
from babygrad.backends.numba import cache

# Elements from which a second thread pays for its 5 us start, measured on silu and adam_step.
PARALLEL_FROM = 8192

# error_model "numpy": x / 0 is an IEEE infinity; the check for it would also keep LLVM from
# vectorising (4 times slower). No fastmath: NaN must survive.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}

helper: Callable[..., Any] = numba.njit(**_OPTIONS)
"""Decorator for functions that kernels call."""


class Kernel:
    """Call with an estimate of the work in elements, then the function's own arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__doc__ = function.__doc__
        self._name = function.__name__
        self._serial = _compiled(function, "serial", parallel=False)
        self._parallel = _compiled(function, "parallel", parallel=True)

    def __call__(self, work: int, *args: Any) -> Any:
        try:
            if work < PARALLEL_FROM or not _gate.enter():
                return self._serial(*args)
            try:
                return self._parallel(*args)
            finally:
                _gate.leave()
        except NumbaError as error:
            raise RuntimeError(
                f"cpu:numba cannot compile its kernel {self._name!r} with numba "
                f"{numba.__version__}; use cpu:numpy or cpu:cpp"
            ) from error


def kernel(function: Callable[..., Any]) -> Kernel:
    """Decorator: the function as a `Kernel`. Nothing is compiled before the first call."""
    return Kernel(function)


def _compiled(function: Callable[..., Any], variant: str, parallel: bool) -> Any:
    # Numba's cache names files by the qualified name: one for each variant.
    named = FunctionType(function.__code__, function.__globals__, function.__name__)
    named.__qualname__ = f"{function.__qualname__}.{variant}"
    named.__module__ = function.__module__
    dispatcher = numba.njit(parallel=parallel, **_OPTIONS)(named)
    cache.attach(dispatcher)
    return dispatcher


def _start_threads() -> None:
    """Start Numba's threads; where they are OpenMP's, let them sleep while they wait.

    GNU OpenMP's threads spin after each loop and so keep numpy's BLAS from the processor: a step
    of two products and two kernels took 32 ms so, and 2.4 ms with the passive policy
    (2 cores). OpenMP reads the variable when it is loaded, which happens here.
    """
    ours = "OMP_WAIT_POLICY" not in os.environ
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        numba.get_num_threads()
    finally:
        if ours:
            del os.environ["OMP_WAIT_POLICY"]


def _most_threads() -> int:
    config: Any = numba.config
    return int(config.NUMBA_NUM_THREADS)


def _wanted_threads() -> int | None:
    """As many as were asked for, or the share of one of a launcher's processes; None for all."""
    wanted = _environment.num_threads()
    if wanted is None and "NUMBA_NUM_THREADS" not in os.environ:
        processes, processors = _launcher.launch()
        if processes > 1:
            wanted = max(1, (processors or _most_threads()) // processes)
    return wanted


class _ThreadState(threading.local):
    limited = False


_thread = _ThreadState()


def _limit_threads() -> None:
    """Limit this Python thread's number of Numba threads, which each has its own, unless it has."""
    _thread.limited = True
    wanted, most = _wanted_threads(), _most_threads()
    if wanted is not None and wanted < most and numba.get_num_threads() == most:
        numba.set_num_threads(wanted)


class _Gate:
    """Admits one Python thread at a time, and none in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads_of: int | None = None  # the process whose worker threads have started
        self._warned = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def enter(self) -> bool:
        process = os.getpid()
        if self._threads_of not in (None, process):
            self._warn_once()
            return False
        if not self._lock.acquire(blocking=False):
            return False
        if self._threads_of is None:
            _start_threads()
            self._threads_of = process
        if not _thread.limited:
            _limit_threads()
        return True

    def leave(self) -> None:
        self._lock.release()

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                "cpu:numba runs on one thread in this process: it was forked from one whose "
                "kernels had started threads (the start method 'spawn' avoids that)",
                RuntimeWarning,
                stacklevel=5,
            )


_gate = _Gate()
