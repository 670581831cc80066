"""cpu:cpp's reductions along runs of adjacent elements: every length, split in every way."""

from typing import Any

import numpy as np
import pytest
from native_kernels import kernel

_core = pytest.importorskip("babygrad._core", reason="the extension is not built")


LENGTHS = [*range(1, 70), 127, 128, 255, 257, 1000, 32768, 32769, 70001]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_lines_of_every_length(isa: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for n in LENGTHS:
        # Multiples of 1/8 below 2^7: the sum is exact in float64, and float32's is rounded once.
        x = (rng.integers(-1024, 1024, (3, n)) / 8).astype(dtype)
        exact = x.astype(np.float64).sum(1)
        np.testing.assert_array_equal(kernel("sum")(x, 1), exact.astype(x.dtype), str(n))
        np.testing.assert_array_equal(kernel("max")(x, 1), np.sort(x)[:, -1], str(n))
        np.testing.assert_array_equal(kernel("min")(x, 1), np.sort(x)[:, 0], str(n))
        if dtype != "int32":
            squares = (x.astype(np.float64) ** 2).sum()
            assert kernel("sum_of_squares")(x) == squares, n


# All elements; runs inside of a kept axis; runs of a part of memory; many short ones of one result.
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((400, 333), None),
        ((9, 11, 40, 50), (0, 2, 3)),
        ((2, 3, 200, 300), (0, 2, 3)),
        ((3000, 30), (0, 1)),
        ((5, 6, 7), (2,)),
        ((20, 5, 30), (0, 2)),
    ],
)
@pytest.mark.parametrize("columns", [None, -2])
def test_runs_of_an_array_or_its_part(
    isa: str, shape: tuple[int, ...], axes: Any, columns: int | None
) -> None:
    x = np.random.default_rng(1).integers(-99, 99, shape).astype(np.float32)[..., :columns]
    whole = tuple(range(x.ndim)) if axes is None else axes
    exact = x.astype(np.float64).sum(axes)
    np.testing.assert_array_equal(kernel("sum")(x, axes), exact.astype(np.float32))
    kept = [i for i in range(x.ndim) if i not in whole]
    lines = np.sort(x.transpose(*kept, *whole).reshape(*(x.shape[i] for i in kept), -1))
    np.testing.assert_array_equal(kernel("max")(x, axes), lines[..., -1])
    np.testing.assert_array_equal(kernel("min")(x, axes), lines[..., 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [5, 8, 37, 64, 131])
def test_nan_spreads_over_its_line_only(isa: str, dtype: str, n: int) -> None:
    x = np.random.default_rng(2).standard_normal((n, n)).astype(dtype)
    x[np.arange(n), np.arange(n)] = np.nan  # at every place of a line once
    for name in ("max", "min", "sum"):
        assert np.isnan(kernel(name)(x, 1)).all()
        assert np.isnan(kernel(name)(x)).all()
    x[1:] = 0
    for name in ("max", "min", "sum"):
        assert np.isnan(kernel(name)(x, 1)).tolist() == [True] + [False] * (n - 1)


@pytest.mark.parametrize("axes", [None, (1,), (0, 1)])
def test_threads_do_not_change_a_sum(axes: Any) -> None:
    x = np.random.default_rng(3).standard_normal((300, 1003), dtype=np.float32)
    before = _core.get_num_threads()
    results = set()
    try:
        for count in (1, 2, 3):
            _core.set_num_threads(count)
            squares = kernel("sum_of_squares")(x).tobytes()
            results.add((kernel("sum")(x, axes).tobytes(), squares))
    finally:
        _core.set_num_threads(before)
    assert len(results) == 1
