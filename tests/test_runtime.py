"""Threads, memory and subnormals as `babygrad` offers them."""

import sys

import numpy as np
import pytest

import babygrad
from babygrad import runtime


@pytest.fixture
def core():
    return pytest.importorskip("babygrad._core", reason="the C++ extension is not installed")


def test_set_num_threads_is_what_get_gives(core):
    before = babygrad.get_num_threads()
    try:
        babygrad.set_num_threads(3)
        assert babygrad.get_num_threads() == core.get_num_threads() == 3
    finally:
        babygrad.set_num_threads(before)


@pytest.mark.parametrize("count", [0, -1, 2000, 1.5, True, "2"])
def test_a_wrong_number_of_threads_is_refused(count):
    with pytest.raises(ValueError, match=r"set_num_threads: count \(=.*\) must be an integer"):
        babygrad.set_num_threads(count)


@pytest.mark.usefixtures("numba")
def test_threads_covers_every_pool_and_restores_it(core):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="optional")
    import numba

    def blas():
        return [
            p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"
        ]

    before = babygrad.get_num_threads(), numba.get_num_threads(), blas()
    with babygrad.threads(1):
        assert (babygrad.get_num_threads(), numba.get_num_threads()) == (1, 1)
        assert set(blas()) <= {1}
    assert (babygrad.get_num_threads(), numba.get_num_threads(), blas()) == before


def test_memory_statistics_and_empty_cache(core):
    x = babygrad.Tensor(np.ones((256, 256)), device="cpu:cpp")
    for _ in range(3):
        x = x + 1
    assert babygrad.memory_stats()["in_use"] >= x.data.nbytes
    del x
    babygrad.empty_cache()
    assert babygrad.memory_stats()["cached"] == 0


def test_flush_denormal_affects_kernels_only(core):
    tiny = np.full(1000, np.finfo(np.float32).tiny / 4)
    x = babygrad.Tensor(tiny, device="cpu:cpp")
    try:
        babygrad.set_flush_denormal(True)
        assert float((x * 0.5).data[0]) == 0
        assert sys.float_info.min / 2 != 0
    finally:
        babygrad.set_flush_denormal(False)
    assert float((x * 0.5).data[0]) != 0


def test_everything_answers_without_the_extension(monkeypatch):
    monkeypatch.setattr(runtime, "_core", lambda: None)
    assert babygrad.get_num_threads() == 1
    assert babygrad.memory_stats() == {}
    babygrad.set_num_threads(1)
    babygrad.empty_cache()
    babygrad.set_flush_denormal(False)
