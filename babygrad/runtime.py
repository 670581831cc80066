"""Settings of the machinery below: threads, cached memory, subnormal numbers.

`set_num_threads` and `threads` govern every pool that computes for babygrad: that of `cpu:cpp`,
Numba's once it has been started, and, when `threadpoolctl` is installed, that of numpy's BLAS.
Without the C++ extension the settings that are its own do nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from numbers import Integral
from types import ModuleType
from typing import Any

from babygrad._scope import Scope


def _core() -> ModuleType | None:
    try:
        return import_module("babygrad._core")
    except ImportError:
        return None


def get_num_threads() -> int:
    """Threads that a large kernel of `cpu:cpp` uses.

    By default `BABYGRAD_NUM_THREADS`, or as many as the affinity mask and the cgroup quota allow;
    where a launcher such as mpirun, srun or torchrun has started several processes on this machine
    (``OMPI_COMM_WORLD_LOCAL_SIZE``, ``MPI_LOCALNRANKS``, ``LOCAL_WORLD_SIZE``,
    ``SLURM_NTASKS_PER_NODE`` and their like), the share of one of them.
    """
    core = _core()
    return 1 if core is None else int(core.get_num_threads())


def set_num_threads(count: int) -> None:
    """Let kernels use `count` threads from now on; results do not depend on it.

    Raises
    ------
    ValueError
        Unless `count` is an integer from 1 to 1024.
    """
    if not isinstance(count, Integral) or isinstance(count, bool) or not 1 <= count <= 1024:
        raise ValueError(f"set_num_threads: count (={count!r}) must be an integer from 1 to 1024")
    count = int(count)
    core = _core()
    if core is not None:
        core.set_num_threads(count)
    # Importing numba for this would cost a second; whoever uses it has it imported.
    numba: Any = sys.modules.get("numba")
    if numba is not None:
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


class threads(Scope):  # noqa: N801 - named like no_grad
    """Use `count` threads inside the block, in babygrad's, Numba's and numpy's pools.

    Parameters
    ----------
    count : int
        numpy's BLAS is included when `threadpoolctl` is installed.

    Examples
    --------
    >>> import babygrad
    >>> with babygrad.threads(1):
    ...     y = babygrad.Tensor([1.0]).sum()
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def __enter__(self) -> None:
        numba: Any = sys.modules.get("numba")
        numba_before = None if numba is None else numba.get_num_threads()
        before = get_num_threads()
        set_num_threads(self._count)
        self._previous.append((before, numba_before, _blas_limits(self._count)))

    def __exit__(self, *exc_info: object) -> None:
        before, numba_before, limits = self._previous.pop()
        set_num_threads(before)
        if numba_before is not None:
            sys.modules["numba"].set_num_threads(numba_before)
        if limits is not None:
            limits.restore_original_limits()


def _blas_limits(count: int) -> Any:
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return None
    return threadpool_limits(limits=count, user_api="blas")


def empty_cache() -> None:
    """Give the memory that `cpu:cpp` keeps for reuse back to the system."""
    core = _core()
    if core is not None:
        core.empty_cache()


def memory_stats() -> dict[str, int]:
    """What `cpu:cpp`'s allocator has: bytes in use, peak, cached and their limit, hits, misses."""
    core = _core()
    return {} if core is None else dict(core.memory_stats())


def set_flush_denormal(on: bool) -> None:
    """Let `cpu:cpp`'s kernels, and nothing else, treat subnormal numbers as zero.

    Faster when weights fade towards zero; results change by at most the smallest normal number.
    """
    core = _core()
    if core is not None:
        core.set_flush_denormal(bool(on))
