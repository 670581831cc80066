"""The suite's required members that multiply matrices: `matmul` and `linear`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from babygrad.backends.aliases import Array
from babygrad.testing.arrays import FLOATS, LENGTHS, frozen_call, layouts, values
from babygrad.testing.oracles import exact, sigmoid
from babygrad.testing.tolerance import Exact, check_sum

ACTIVATIONS: dict[str, Callable[[Exact], Exact]] = {
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}

floats = pytest.mark.parametrize("dtype", FLOATS)


class MatmulSuite:
    @floats
    def test_matmul(self, xp: Any, dtype: str) -> None:
        a, b = values((7, 9), dtype, seed=0), values((9, 5), dtype, seed=1)
        want = _product(a, b)
        for (first, x), (second, y) in itertools.product(layouts(a), layouts(b)):
            got = frozen_call(xp.matmul, x, y)
            check_sum(got, want, dtype, 9, 9, f"matmul, {first} with {second}")
        spread = np.broadcast_to(b[:1], b.shape)
        check_sum(xp.matmul(a, spread), _product(a, spread), dtype, 9, 9, "matmul, 0-stride")

    @floats
    def test_matmul_shapes(self, xp: Any, dtype: str) -> None:
        shapes = [((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 2)), ((1, 3, 4), (5, 4, 2)),
                  ((5, 1, 3, 4), (6, 4, 2)), ((2, 3, 4), (4, 2)), ((3, 0), (0, 2)),
                  ((0, 4), (4, 2)), ((3, 4), (4, 0)), ((1, 1), (1, 1))]  # fmt: skip
        for first, second in shapes:
            a, b = values(first, dtype, seed=0), values(second, dtype, seed=1)
            check_sum(xp.matmul(a, b), _product(a, b), dtype, 4, 9, f"matmul, {first} @ {second}")
        with pytest.raises(ValueError, match=r"."):
            xp.matmul(np.ones((2, 3), dtype), np.ones((2, 3), dtype))

    @floats
    def test_matmul_sizes(self, xp: Any, dtype: str) -> None:
        """Every remainder of a register tile, and an inner length that is cut into blocks."""
        for n in LENGTHS:
            a, b = values((n, 3), dtype, seed=0), values((3, n + 1), dtype, seed=1)
            check_sum(xp.matmul(a, b), _product(a, b), dtype, 3, 9, f"matmul, {n} rows")
            a, b = values((2, n), dtype, seed=0), values((n, 2), dtype, seed=1)
            check_sum(xp.matmul(a, b), _product(a, b), dtype, n, 9, f"matmul, inner {n}")
        a, b = values((33, 1500), dtype, seed=0), values((1500, 35), dtype, seed=1)
        check_sum(xp.matmul(a, b), _product(a, b), dtype, 1500, 9, "matmul, inner 1500")

    @floats
    def test_matmul_nan(self, xp: Any, dtype: str) -> None:
        a, b = values((5, 7), dtype, seed=0), values((7, 6), dtype, seed=1)
        a[2, 3] = np.nan
        got = xp.matmul(a, b)
        assert np.isnan(got[2]).all()
        assert np.isfinite(np.delete(got, 2, 0)).all()

    @floats
    def test_linear(self, xp: Any, dtype: str) -> None:
        w, b = values((9, 5), dtype, seed=1), values((5,), dtype, seed=2)
        for shape in ((7, 9), (2, 3, 9), (9,), (0, 9)):
            x = values(shape, dtype, seed=0)
            want = _product(x, w)
            check_sum(xp.linear(x, w, None), want, dtype, 9, 9, "linear")
            check_sum(frozen_call(xp.linear, x, w, b), want + exact(b), dtype, 10, 9, "linear")
            for name, f in ACTIVATIONS.items():
                got = frozen_call(xp.linear, x, w, b, name)
                # None of them is steeper than the sum itself.
                check_sum(got, f(want + exact(b)), dtype, 10, 9, f"linear, {name}")


def _product(a: Array, b: Array) -> Exact:
    return np.matmul(exact(a), exact(b))  # longdouble: numpy's own loops, no BLAS
