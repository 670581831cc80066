"""cpu:cpp's reductions along runs of adjacent elements: every length, split in every way."""

from typing import Any

import numpy as np
import pytest
from native_kernels import kernel

_core = pytest.importorskip("babygrad._core", reason="the extension is not built")


def exact_var(x: Any, axes: Any) -> Any:
    wide = x.astype(np.longdouble)
    return ((wide - wide.mean(axes, keepdims=True)) ** 2).mean(axes)


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
            # The mean and the squares are rounded in float64: far below float32's last bit.
            tolerance = 1e-7 if dtype == "float32" else 1e-14
            variances = kernel("var")(x, 1, False, 0)
            np.testing.assert_allclose(variances, exact_var(x, 1), tolerance, 0, err_msg=str(n))
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
        ((300, 50, 3), (0, 2)),
        ((7, 2000, 5), (0, 2)),
        ((40000, 3), (0,)),
        ((3, 700, 4), (1,)),
        ((5, 9000), (0,)),
        ((3, 70, 5000), (1,)),
        ((2, 3, 40000), (0, 2)),
        ((2, 3, 40000), (1, 2)),
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
    for dtype, tolerance in (("float32", 1e-7), ("float64", 1e-13)):
        variances = kernel("var")(x.astype(dtype), whole, False, 0)
        np.testing.assert_allclose(variances, exact_var(x, whole), tolerance, 0)


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


@pytest.mark.parametrize("axes", [None, (0,), (1,), (0, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(300, 1003), (40000, 5), (3, 100_000), (40, 50, 40)])
def test_threads_do_not_change_a_sum(shape: tuple[int, ...], dtype: str, axes: Any) -> None:
    x = np.random.default_rng(3).standard_normal(shape).astype(dtype)
    before = _core.get_num_threads()
    results = set()
    try:
        for count in (1, 2, 3):
            _core.set_num_threads(count)
            squares = kernel("sum_of_squares")(x).tobytes()
            variances = kernel("var")(x, axes, False, 1).tobytes()
            results.add((kernel("sum")(x, axes).tobytes(), squares, variances))
    finally:
        _core.set_num_threads(before)
    assert len(results) == 1
