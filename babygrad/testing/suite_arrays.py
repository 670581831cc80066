"""The suite's required members that are not elementwise: creation, reductions, shape."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from babygrad.testing.arrays import FLOATS, LENGTHS, distinct, frozen_call, layouts, values
from babygrad.testing.oracles import exact
from babygrad.testing.tolerance import SUM, check, check_exact, check_sum, check_type

SHAPE = (3, 4, 5)
AXES = (None, 0, 1, -1, (0, 2), (0, 1, 2), ())
DTYPES = (*FLOATS, "int64", "bool")

floats = pytest.mark.parametrize("dtype", FLOATS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def reduced_length(shape: tuple[int, ...], axis: Any) -> int:
    return math.prod(shape) // max(1, int(np.size(np.sum(np.empty(shape), axis))))


class CreationSuite:
    @pytest.mark.parametrize("dtype", [*FLOATS, "int64"])
    def test_creation(self, xp: Any, dtype: str) -> None:
        for shape in ((2, 3), (), (0, 2)):
            check_exact(xp.zeros(shape, dtype), np.array(0, dtype) * np.ones(shape, dtype), "zeros")
            check_exact(xp.ones(shape, dtype), np.zeros(shape, dtype) + np.array(1, dtype), "ones")
            check_exact(
                xp.full(shape, 7, dtype), np.zeros(shape, dtype) + np.array(7, dtype), "full"
            )
            check_type(xp.empty(shape, dtype), dtype, shape, "empty")
        check_exact(xp.arange(2, 9, 3, dtype), np.array([2, 5, 8], dtype), "arange")
        check_exact(xp.eye(2, 3, 1, dtype), np.array([[0, 1, 0], [0, 0, 1]], dtype), "eye")

    @dtypes
    def test_conversion(self, xp: Any, dtype: str) -> None:
        x = np.array([[0, 1, 2], [3, 0, 1]], dtype)
        for layout, given in layouts(x):
            for other in DTYPES:
                got = xp.astype(given, other)
                check_exact(
                    got, np.array([v.item() for v in x.flat]).reshape(2, 3).astype(other), layout
                )
                assert not np.shares_memory(got, given), "astype: not a copy"
            copied = xp.copy(given)
            check_exact(copied, x, f"copy, {layout}")
            assert copied.flags.c_contiguous
            assert copied.flags.writeable
            assert not np.shares_memory(copied, given)
            packed = xp.ascontiguousarray(given)
            check_exact(packed, x, f"ascontiguousarray, {layout}")
            assert packed.flags.c_contiguous
        assert xp.ascontiguousarray(x) is x or np.shares_memory(xp.ascontiguousarray(x), x)


class ReductionSuite:
    @floats
    def test_sum(self, xp: Any, dtype: str) -> None:
        x = values(SHAPE, dtype)
        for (layout, given), axis in itertools.product(layouts(x), AXES):
            got = frozen_call(xp.sum, given, axis, False)
            k = reduced_length(SHAPE, axis)
            check_sum(got, exact(x).sum(axis), dtype, k, 3, f"sum, {layout}, axis {axis}")
            kept = exact(x).sum(axis, keepdims=True)
            check_sum(xp.sum(given, axis, True), kept, dtype, k, 3, "sum, keepdims")
        spread = np.broadcast_to(x[:, :1], SHAPE)
        check_sum(xp.sum(spread, 1), exact(spread).sum(1), dtype, 4, 3, "sum, 0-stride")
        x = values((LENGTHS[-1],), dtype)
        for n in LENGTHS:
            check_sum(xp.sum(x[:n]), exact(x[:n]).sum(), dtype, n, 3, f"sum, length {n}")
        for shape in ((), (0,), (0, 3), (3, 0), (1, 1)):
            x = values(shape, dtype)
            check_sum(xp.sum(x, None), exact(x).sum(), dtype, 1, 3, f"sum, shape {shape}")
        infinite = np.array([np.inf, 1, -np.inf], dtype)
        assert np.isnan(xp.sum(infinite))
        assert xp.sum(infinite[:2]) == np.inf

    def test_sum_does_not_stall(self, xp: Any) -> None:
        """A running float32 sum of ones stops growing at 2 ** 24, along whichever axis."""
        ones = np.broadcast_to(np.float32(1), (2**24 + 8, 1))
        assert xp.sum(ones, None) == xp.sum(ones, 0)[0] == 2**24 + 8
        pair = np.ones((2**18, 2), np.float32) * np.float32(0.1)
        want = exact(pair).sum(0)
        for given in (pair, np.array(pair.T, order="C").T):
            check_sum(xp.sum(given, 0), want, "float32", 2**18, 0.1, "sum of 2 ** 18")
            check_sum(xp.sum(given, None), want.sum(), "float32", 2**19, 0.1, "sum of 2 ** 19")

    @pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "uint64"])
    @pytest.mark.parametrize("name", ["sum", "prod"])
    def test_integer_sum(self, xp: Any, name: str, dtype: str) -> None:
        low, wide = (0, np.uint64) if dtype == "uint64" else (-3, np.int64)
        x = np.asarray(values(SHAPE, "float64", low, 4), dtype)
        for (layout, given), axis in itertools.product(layouts(x), AXES):
            want = getattr(np, name)(x.astype(wide), axis=axis)
            check_exact(getattr(xp, name)(given, axis), np.asarray(want), f"{name}, {layout}")

    @floats
    def test_var(self, xp: Any, dtype: str) -> None:
        x = values(SHAPE, dtype)
        for (layout, given), axis in itertools.product(layouts(x), AXES):
            k = reduced_length(SHAPE, axis)
            for keepdims, correction in itertools.product((False, True), (0, 0.5, 1)):
                squares = (exact(x) - exact(x).mean(axis, keepdims=True)) ** 2
                degrees = k - correction if k > correction else math.nan
                want = squares.sum(axis, keepdims=keepdims) / degrees
                got = frozen_call(xp.var, given, axis, keepdims, correction)
                scale = 9 / math.sqrt(k)  # K squares of at most 9, over K
                check(got, want, dtype, SUM, scale=scale, of=f"var, {layout}, axis {axis}")
        # Their squares differ by less than the rounding of one, and float32 has no mean of a pair.
        apart = np.asarray(1e8 + 8 * np.arange(300).reshape(2, 150), dtype)
        for axis in (None, 0, 1):
            check(xp.var(apart, axis, False, 0), exact(apart).var(axis), dtype, SUM, of="far away")
        nothing = xp.var(np.zeros((0, 2), dtype), 0, True, 0)
        check_exact(nothing, np.full((1, 2), np.nan, dtype), "var of nothing")
        check_exact(xp.var(np.zeros((2, 0), dtype), 0, False, 0), np.zeros(0, dtype), "no var")

    @pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "uint64"])
    def test_integer_mean_and_var(self, xp: Any, dtype: str) -> None:
        """From sums that no 64 bits have; np.var over Python's integers is exact but for a root."""
        bits = 8 * np.dtype(dtype).itemsize - 2 if dtype != "bool" else 1
        x = np.array([(1 << bits) - 1, (1 << bits) - 2, 0, 1, (1 << bits) - 1, 3], dtype)
        x = x.reshape(3, 2)
        exactly = np.array(x.tolist(), object) + 0
        for axis, keepdims in itertools.product((None, 0, 1), (False, True)):
            count = reduced_length(x.shape, axis)
            want = np.asarray(exactly.sum(axis=axis, keepdims=keepdims) / count, np.longdouble)
            got = frozen_call(xp.integer_mean, x, axis, keepdims)
            check(got, want, "float32", 1, of=f"mean, axis {axis}")
            means = exactly.sum(axis=axis, keepdims=True)
            squares = ((exactly * count - means) ** 2).sum(axis=axis, keepdims=keepdims)
            want = np.asarray(squares / count**3, np.longdouble)
            check(xp.var(x, axis, keepdims, 0), want, "float32", 1, of=f"var, axis {axis}")
        check_exact(xp.integer_mean(x[:0], 0, False), np.full(2, np.nan, "float32"), "of nothing")

    @floats
    @pytest.mark.parametrize("size", ["plain", "large", "small"])
    def test_norm_and_std(self, xp: Any, size: str, dtype: str) -> None:
        """Of elements of which the squares overflow or vanish too, beside ordinary ones."""
        power = {"plain": 0, "large": 90, "small": -90}[size] * (1 if dtype == "float32" else 7)
        x = values(SHAPE, dtype)
        x[0] *= np.ldexp(np.ones((), dtype), power)
        for (layout, given), axis in itertools.product(layouts(x), AXES):
            for keepdims in (False, True):
                of = f"{layout}, axis {axis}"
                want = np.sqrt((exact(x) ** 2).sum(axis, keepdims=keepdims))
                got = frozen_call(xp.norm, given, axis, keepdims)
                check(got, want, dtype, SUM, of=f"norm, {of}")
                want = exact(x).std(axis, keepdims=keepdims)
                got = frozen_call(xp.std, given, axis, keepdims, 0)
                largest = np.abs(exact(x)).max(axis, keepdims=keepdims)
                check(got, want, dtype, SUM, scale=largest, of=f"std, {of}")

    @floats
    def test_prod(self, xp: Any, dtype: str) -> None:
        x = values(SHAPE, dtype, 0.5, 1.5)
        for (layout, given), axis in itertools.product(layouts(x), AXES):
            got, want = xp.prod(given, axis, True), exact(x).prod(axis, keepdims=True)
            k = reduced_length(SHAPE, axis)  # one rounding for each factor
            check(got, want, dtype, k + 1, of=f"prod, {layout}, axis {axis}")
        check(xp.prod(np.zeros((0, 2), dtype), 0), np.ones(2), dtype, 0, of="prod of nothing")

    @pytest.mark.parametrize("dtype", [*FLOATS, "int64"])
    @pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
    def test_extremes(self, xp: Any, name: str, dtype: str) -> None:
        x = distinct(SHAPE, dtype)
        axes = AXES[:4] if name.startswith("arg") else AXES
        for (layout, given), axis in itertools.product(layouts(x), axes):
            want = getattr(np, name)(np.asarray(x, np.longdouble), axis=axis, keepdims=True)
            want = want.astype("int64" if name.startswith("arg") else dtype)
            got = frozen_call(getattr(xp, name), given, axis, True)
            check_exact(got, want, f"{name}, {layout}, axis {axis}")
            got = getattr(xp, name)(given, axis)
            check_exact(got, want.reshape(got.shape), f"{name}, {layout}, axis {axis}")
        for n in LENGTHS:
            for place in {0, n // 2, n - 1}:
                x = np.zeros(n, dtype)
                x[place] = 5 if name.endswith("max") else -5
                want = place if name.startswith("arg") else x[place]
                assert getattr(xp, name)(x) == want, f"{name}, length {n}, place {place}"
        with pytest.raises(ValueError, match=r"."):
            getattr(xp, name)(np.zeros((0, 3), dtype), 0)

    @floats
    @pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
    def test_extremes_with_nan(self, xp: Any, name: str, dtype: str) -> None:
        """NaN wins at every place of every length, and the first one counts."""
        member = getattr(xp, name)
        for n in LENGTHS:
            x = distinct((n,), dtype)
            for place in range(n):
                y = x.copy()
                y[place:] = np.where(np.arange(place, n) % 7 == place % 7, np.nan, y[place:])
                got = member(y)
                assert got == place if name.startswith("arg") else np.isnan(got), (n, place)
            columns = np.stack([x, np.where(x == x[-1], np.nan, x)], 1)
            along = member(columns, 0)
            assert along[1] == n - 1 if name.startswith("arg") else np.isnan(along[1])

    @pytest.mark.parametrize("dtype", [*FLOATS, "int64"])
    def test_first_of_ties(self, xp: Any, dtype: str) -> None:
        x = np.array([[2, 7, 7, 2], [7, 2, 2, 7]], dtype)
        check_exact(xp.argmax(x, 1), np.array([1, 0]), "argmax")
        check_exact(xp.argmin(x, 1), np.array([0, 1]), "argmin")

    @dtypes
    def test_any_all(self, xp: Any, dtype: str) -> None:
        x = np.asarray(np.round(values(SHAPE, "float64", -0.6, 1.5)), dtype)
        for (layout, given), axis in itertools.product(layouts(x), AXES):
            for keepdims in (False, True):
                got = xp.any(given, axis, keepdims)
                check_exact(
                    got, np.asarray((x != 0).any(axis, keepdims=keepdims)), f"any, {layout}"
                )
                got = xp.all(given, axis, keepdims)
                check_exact(
                    got, np.asarray((x != 0).all(axis, keepdims=keepdims)), f"all, {layout}"
                )
        nothing = np.zeros((0,), dtype)
        assert not xp.any(nothing)
        assert xp.all(nothing)

    @dtypes
    def test_cumulative_sum(self, xp: Any, dtype: str) -> None:
        x = np.asarray(values(SHAPE, "float64", -3, 3), dtype)
        for (layout, given), axis in itertools.product(layouts(x), (0, 1, -1)):
            got, want = xp.cumulative_sum(given, axis), np.cumsum(exact(x), axis)
            if dtype in FLOATS:
                check_sum(got, want, dtype, SHAPE[axis], 3, f"cumulative_sum, {layout}")
            else:
                check_exact(got, want.astype(np.int64), f"cumulative_sum, {layout}")


class ShapeSuite:
    @dtypes
    def test_rearranging(self, xp: Any, dtype: str) -> None:
        x = np.asarray(distinct(SHAPE, "int64"), dtype)
        nested = x.tolist()
        flat = [v for plane in nested for row in plane for v in row]
        for layout, given in layouts(x):
            of = f"reshape, {layout}"
            check_exact(xp.reshape(given, (5, -1)), np.array(flat, dtype).reshape(5, 12), of)
            for axes in itertools.permutations(range(3)):
                got = xp.permute_dims(given, axes)
                assert got.shape == tuple(SHAPE[a] for a in axes)
                for place in itertools.product(*map(range, SHAPE)):
                    assert got[tuple(place[a] for a in axes)] == x[place]
            check_exact(xp.expand_dims(given, 1), x.reshape(3, 1, 4, 5), "expand_dims")
            check_exact(xp.expand_dims(given, (0, -1)), x.reshape(1, 3, 4, 5, 1), "expand_dims")
            check_exact(xp.squeeze(given[:, :1], 1), x[:, 0], "squeeze")
            check_exact(xp.squeeze(given[:1, :1], None), x[0, 0], "squeeze")
            check_exact(xp.flip(given, 1), x[:, ::-1], f"flip, {layout}")
            check_exact(xp.flip(given, None), x[::-1, ::-1, ::-1], f"flip, {layout}")
            rolled = np.concatenate([x[:, 2:], x[:, :2]], 1)
            check_exact(xp.roll(given, -2, 1), rolled, f"roll, {layout}")
            check_exact(
                xp.roll(given, 1, None), np.array(flat[-1:] + flat[:-1], dtype).reshape(SHAPE)
            )
        spread = xp.broadcast_to(x[:, :1], (2, *SHAPE))
        assert spread.shape == (2, *SHAPE)
        assert (spread == x[:, :1]).all()

    @dtypes
    def test_joining(self, xp: Any, dtype: str) -> None:
        a, b = (np.asarray(distinct(SHAPE, "int64", seed), dtype) for seed in (0, 1))
        for (layout, x), (_, y) in zip(layouts(a), layouts(b), strict=True):
            for axis in (0, 1, -1):
                joined = xp.concat([x, y], axis)
                check_exact(np.take(joined, range(SHAPE[axis]), axis), a, f"concat, {layout}")
                check_exact(
                    np.take(joined, range(SHAPE[axis], 2 * SHAPE[axis]), axis),
                    b,
                    f"concat, {layout}",
                )
                piled = xp.stack([x, y], axis)
                check_exact(np.take(piled, 0, axis), a, f"stack, {layout}")
                check_exact(np.take(piled, 1, axis), b, f"stack, {layout}")
            tiled = xp.tile(x, (2, 1, 3))
            check_exact(tiled[3:, :, 5:10], a, f"tile, {layout}")
            assert tiled.shape == (6, 4, 15)
            repeated = xp.repeat(x, 3, 1)
            check_exact(repeated[:, 1::3], a, f"repeat, {layout}")
            assert repeated.shape == (3, 12, 5)
            padded = xp.pad(x, ((1, 0), (0, 2), (0, 0)), 1)
            check_exact(padded[1:, :4], a, f"pad, {layout}")
            assert (padded[0] == 1).all()
            assert (padded[:, 4:] == 1).all()

    @dtypes
    def test_diagonals(self, xp: Any, dtype: str) -> None:
        x = np.asarray(distinct(SHAPE, "int64"), dtype)
        column, row = np.arange(5), np.arange(4)[:, None]
        for layout, given in layouts(x):
            got = xp.diagonal(given, 1, 1, 2)
            check_exact(got, np.stack([x[:, i, i + 1] for i in range(4)], 1), f"diagonal, {layout}")
            for k in (-1, 0, 2):
                lower = np.where(column <= row + k, x, np.zeros((), dtype))
                check_exact(xp.tril(given, k), lower, f"tril, {layout}")
                upper = np.where(column >= row + k, x, np.zeros((), dtype))
                check_exact(xp.triu(given, k), upper, f"triu, {layout}")
