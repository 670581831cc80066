"""What the machine can do: multiply-adds in registers, and copying memory.

A share of the peak is worth something only if the peak is measured in the same run: clocks change
with the load, and shared machines have noisy neighbours.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

# 12 independent chains hide the latency of 4 or 5 cycles of two multiply-adders. Nothing is read
# from memory, and a converges to 1, so that no subnormal number slows the loop down.
SOURCE = """
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef float vec __attribute__((vector_size(BYTES)));
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define DECLARE(i) vec c##i = zero + (x + i);
#define STEP(i) c##i = c##i * a + b;
#define SUM(i) total += c##i;

extern "C" double flops_per_iteration() { return 12.0 * 2 * sizeof(vec) / sizeof(float); }

extern "C" float multiply_add(long iterations, float x) {
    const vec zero = {};
    const vec a = zero + 0.999f * x, b = zero + 0.001f * x;
    EACH(DECLARE)
    for (long n = 0; n < iterations; ++n) { EACH(STEP) }
    vec total = zero;
    EACH(SUM)
    return total[0];
}
"""


@cache
def _library() -> ctypes.CDLL | None:
    """SOURCE compiled for this very processor, None when that does not work."""
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peak.cpp"), Path(folder, "peak.so")
        source.write_text(SOURCE)
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        command = [compiler, *flags, str(source), "-o", str(library)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError:
            return None
    loaded.flops_per_iteration.restype = ctypes.c_double
    loaded.multiply_add.restype = ctypes.c_float
    loaded.multiply_add.argtypes = [ctypes.c_long, ctypes.c_float]
    return loaded


class Gauge:
    """Measures both limits on some threads, for some milliseconds at a time."""

    def __init__(self, threads: int, copy_bytes: int = 1 << 27) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads)
        n = copy_bytes // 8
        self._source = [np.ones(n // threads) for _ in range(threads)]
        self._target = [np.ones(n // threads) for _ in range(threads)]

    def flops(self) -> float | None:
        """float32 operations per second, None when no compiler was found."""
        library = _library()
        if library is None:
            return None
        iterations = 8_000_000  # some 20 ms
        seconds = self._timed(lambda _: library.multiply_add(iterations, 1.0))
        return self.threads * iterations * library.flops_per_iteration() / seconds

    def copy(self) -> float:
        """Bytes read and written per second by a copy that is larger than the cache."""
        seconds = self._timed(lambda i: np.copyto(self._target[i], self._source[i]))
        return 2 * sum(array.nbytes for array in self._source) / seconds

    def _timed(self, work: Callable[[int], object]) -> float:
        begin = time.perf_counter()
        list(self._pool.map(work, range(self.threads)))
        return time.perf_counter() - begin
