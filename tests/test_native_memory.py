"""The caching allocator: aligned, bounded, given back, and no growth over a long training."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from native_kernels import kernel

import babygrad
from babygrad import Tensor, nn, ops, optim

_core = pytest.importorskip("babygrad._core", reason="built without the C++ engine")
STATM = Path("/proc/self/statm")
# AddressSanitizer keeps what is freed for a while, and its shadow memory knows no limit.
CHECKED = "asan" in os.environ.get("LD_PRELOAD", "")


def test_results_are_aligned_writable_and_reused() -> None:
    add = kernel("add")
    x = np.ones(10_000, np.float32)
    _core.empty_cache()
    for _ in range(100):
        y = add(x, x)
        assert y.ctypes.data % 64 == 0
        assert y.flags.writeable
        del y
    stats = _core.memory_stats()
    assert stats["cached"] < 10 * x.nbytes
    _core.empty_cache()
    assert _core.memory_stats()["cached"] == 0


def test_the_cache_keeps_to_its_limit() -> None:
    limit = _core.memory_stats()["limit"]
    try:
        _core.set_cache_limit(1 << 20)
        add = kernel("add")
        arrays = [add(np.ones(n), 1.0) for n in range(1000, 100_000, 3000)]
        del arrays
        assert _core.memory_stats()["cached"] <= 1 << 20
        with pytest.raises(ValueError, match="at least 0"):
            _core.set_cache_limit(-1)
    finally:
        _core.set_cache_limit(limit)


def test_a_view_keeps_its_block() -> None:
    before = _core.memory_stats()["in_use"]
    view = kernel("add")(np.ones(10_000), 1.0)[5000:]
    assert _core.memory_stats()["in_use"] > before
    kernel("add")(np.ones(10_000), 7.0)
    assert (view == 2.0).all()
    del view
    assert _core.memory_stats()["in_use"] == before


def resident() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")
def test_ten_thousand_steps_do_not_grow() -> None:
    with babygrad.device("cpu:cpp"):
        model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        rows = [Tensor(np.ones((n, 16))) for n in (64, 48)]
        labels = [np.zeros(len(x), np.int64) for x in rows]

    def steps(count: int) -> None:
        for i in range(count):
            optimizer.zero_grad()
            ops.cross_entropy(model(rows[i % 2]), labels[i % 2]).backward()
            optimizer.step()

    steps(500)
    gc.collect()
    before, bytes_before = _core.memory_stats(), resident()
    steps(10_000)
    after = _core.memory_stats()
    assert after["in_use"] == before["in_use"]
    assert after["cached"] == before["cached"]
    assert after["peak"] == before["peak"]
    assert after["misses"] == before["misses"], "blocks that are free were not used again"
    assert after["hits"] > before["hits"] + 10_000
    # A leak of one array of 64 numbers a step would be 2.5 MB.
    assert CHECKED or resident() - bytes_before < 2**21


def run_python(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", "import numpy as np\nfrom babygrad import _core\n" + code]
    environment = {**os.environ, **environment}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(("text", "limit"), [("3", 3 << 20), ("0", 0), ("much", 512 << 20)])
def test_the_environment_bounds_the_cache(text: str, limit: int) -> None:
    code = (
        "add = _core.bind('add', np.add)\n"
        "arrays = [add(np.ones(n), 1.0) for n in range(1000, 200_000, 3000)]\n"
        "del arrays\n"
        "stats = _core.memory_stats()\n"
        "print(stats['limit'], stats['cached'] <= stats['limit'])"
    )
    assert run_python(code, BABYGRAD_CACHE_MB=text).split() == [str(limit), "True"]


def test_a_block_serves_requests_down_to_half_its_size() -> None:
    add = _core.bind("add", np.add)
    _core.empty_cache()
    large = add(np.zeros(1 << 18), 1.0)
    address = large.ctypes.data
    del large
    half, other = add(np.zeros((1 << 17) + 1), 1.0), add(np.zeros(1 << 14), 2.0)
    assert half.ctypes.data == address
    assert other.ctypes.data != address
    np.testing.assert_array_equal(half, 1)
    np.testing.assert_array_equal(other, 2)
    del half
    assert _core.memory_stats()["cached"] >= 1 << 21  # whole again
    again = add(np.zeros(1 << 18), 1.0)
    assert again.ctypes.data == address


@pytest.mark.skipif(CHECKED, reason="AddressSanitizer needs more address space than there is")
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as on Linux")
def test_cached_memory_is_given_back_when_the_system_has_no_more() -> None:
    code = (
        "import resource\n"
        "add = _core.bind('add', np.add)\n"
        "one = np.float64(1)\n"
        "wide = np.broadcast_to(one, 24 << 20)\n"
        "x = add(wide, 1.0)\n"
        "del x\n"
        "cached = _core.memory_stats()['cached']\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "room = pages * resource.getpagesize() + (32 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (room, room))\n"
        "y = add(np.broadcast_to(one, 8 << 20), 1.0)\n"
        "print(cached >= 192 << 20, _core.memory_stats()['cached'], y[-1])\n"
        "try:\n"
        "    add(np.broadcast_to(one, 64 << 20), 1.0)\n"
        "except MemoryError:\n"
        "    print(_core.memory_stats()['in_use'] < 192 << 20)"
    )
    assert run_python(code).split() == ["True", "0", "2.0", "True"]
