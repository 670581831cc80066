"""The suite's convolution and pooling."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from babygrad.backends.aliases import Array
from babygrad.testing import oracles
from babygrad.testing.arrays import FLOATS, distinct, frozen_call, layouts, values
from babygrad.testing.oracles import exact
from babygrad.testing.tolerance import FUSED, check, check_exact, check_sum

floats = pytest.mark.parametrize("dtype", FLOATS)

# The shapes of x and w, then stride, padding, dilation and groups.
CONVOLUTIONS: dict[str, tuple[Any, ...]] = {
    "3 x 3, same size": ((2, 5, 6, 3), (3, 3, 3, 4), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "stride leaves a remainder": ((2, 8, 8, 2), (3, 3, 2, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
    "asymmetric": ((1, 7, 9, 2), (2, 3, 2, 5), (2, 3), ((0, 2), (1, 0)), (1, 1), 1),
    "dilated": ((2, 9, 8, 2), (3, 2, 2, 3), (1, 2), ((2, 2), (1, 1)), (2, 3), 1),
    "wide padding": ((1, 3, 3, 2), (2, 2, 2, 2), (1, 1), ((3, 3), (3, 3)), (1, 1), 1),
    "1 x 1": ((2, 4, 5, 6), (1, 1, 6, 7), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "1 x 1 with stride": ((2, 5, 5, 3), (1, 1, 3, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    "one window": ((3, 4, 4, 2), (4, 4, 2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "groups": ((2, 5, 5, 6), (3, 3, 2, 9), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    "depthwise": ((2, 6, 5, 4), (3, 3, 1, 4), (2, 1), ((1, 1), (1, 1)), (1, 1), 4),
    "one channel": ((2, 6, 6, 1), (3, 3, 1, 1), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "wide": ((1, 3, 4, 17), (3, 3, 17, 35), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "empty batch": ((0, 4, 4, 2), (3, 3, 2, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
}  # fmt: skip
# The shape of x, then kernel, stride, padding, dilation and ceil_mode.
POOLINGS: dict[str, tuple[Any, ...]] = {
    "2 x 2": ((2, 6, 4, 3), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False),
    "overlapping, padded": ((2, 7, 6, 2), (3, 3), (2, 1), ((1, 1), (1, 1)), (1, 1), False),
    "ceil": ((1, 7, 8, 2), (2, 3), (2, 3), ((0, 0), (0, 0)), (1, 1), True),
    "ceil, padded": ((2, 6, 5, 5), (3, 2), (2, 2), ((1, 1), (1, 1)), (1, 1), True),
    "no window starts in padding": ((1, 3, 3, 1), (2, 2), (3, 3), ((1, 1), (1, 1)), (1, 1), True),
    "dilated": ((2, 9, 8, 2), (3, 2), (1, 2), ((1, 0), (0, 1)), (2, 3), False),
    "window in the padding": ((2, 1, 2, 3), (1, 2), (4, 4), ((0, 0), (1, 1)), (2, 3), False),
    "ceil, larger than the image": ((2, 2, 3, 3), (3, 5), (2, 3), ((0, 0), (0, 0)), (1, 1), True),
    "whole image": ((3, 4, 5, 17), (4, 5), (1, 1), ((0, 0), (0, 0)), (1, 1), False),
}  # fmt: skip


def image_layouts(x: Array) -> Any:
    """Every layout, and the view of NCHW memory that is the most usual of all."""
    yield from layouts(x)
    yield "NCHW memory", np.array(x.transpose(0, 3, 1, 2), order="C").transpose(0, 2, 3, 1)


def operands(case: str, dtype: str) -> tuple[Array, Array, Array]:
    """x, w and gy."""
    x_shape, w_shape, *geometry = CONVOLUTIONS[case]
    out = oracles.convolution_size(x_shape, w_shape, *geometry[:3])
    x, w = values(x_shape, dtype, -1, 1), values(w_shape, dtype, -1, 1, seed=1)
    return x, w, values((x_shape[0], *out, w_shape[3]), dtype, -1, 1, seed=3)


@cache
def answers(case: str, dtype: str) -> tuple[Array, Array, Array]:
    """y, gx and gw: loops over single products, kept for the next backend."""
    geometry: Any = CONVOLUTIONS[case][2:]
    x, w, gy = map(exact, operands(case, dtype))
    return oracles.conv2d(x, w, *geometry), *oracles.conv2d_grads(gy, x, w, *geometry)


class ConvolutionSuite:
    @floats
    @pytest.mark.parametrize("case", CONVOLUTIONS)
    def test_conv2d(self, xp: Any, case: str, dtype: str) -> None:
        w_shape, *geometry = CONVOLUTIONS[case][1:]
        x, w, _ = operands(case, dtype)
        b = values((w_shape[3],), dtype, -1, 1, seed=2)
        want, k = answers(case, dtype)[0], math.prod(w_shape[:3])
        for layout, given in image_layouts(x):
            y = frozen_call(xp.conv2d, given, w, None, *geometry)
            check_sum(y, want, dtype, k, 1, f"conv2d, {case}, {layout}")
            assert y.flags.c_contiguous, "conv2d: not row-major"
        oihw = np.array(w.transpose(3, 2, 0, 1), order="C").transpose(2, 3, 1, 0)
        y = frozen_call(xp.conv2d, x, oihw, b, *geometry)
        check_sum(y, want + exact(b), dtype, k + 1, 1, f"conv2d, {case}, bias")

    @floats
    @pytest.mark.parametrize("case", CONVOLUTIONS)
    def test_conv2d_grads(self, xp: Any, case: str, dtype: str) -> None:
        x_shape, w_shape, *geometry = CONVOLUTIONS[case]
        x, w, gy = operands(case, dtype)
        _, gx, gw = answers(case, dtype)
        taps, pixels = math.prod(w_shape[:2]) * w_shape[3], math.prod(gy.shape[:3])
        oihw = np.array(w.transpose(3, 2, 0, 1), order="C").transpose(2, 3, 1, 0)
        for layout, given in image_layouts(gy):
            for kernel in (w, oihw):
                got = frozen_call(xp.conv2d_input_grad, given, kernel, x_shape, *geometry)
                check_sum(got, gx, dtype, taps, 1, f"conv2d_input_grad, {case}, {layout}")
                assert got.flags.c_contiguous, "conv2d_input_grad: not row-major"
        for (layout, g), (_, image) in zip(image_layouts(gy), image_layouts(x), strict=True):
            got = frozen_call(xp.conv2d_weight_grad, g, image, w_shape, *geometry)
            check_sum(got, gw, dtype, pixels, 1, f"conv2d_weight_grad, {case}, {layout}")


class PoolingSuite:
    @floats
    @pytest.mark.parametrize("case", POOLINGS)
    def test_max_pool2d(self, xp: Any, case: str, dtype: str) -> None:
        x_shape, *geometry = POOLINGS[case]
        ties = np.asarray(distinct(x_shape, "int64") // 3, dtype)
        for x in (ties, _with_nan(ties), np.full(x_shape, -np.inf, dtype)):
            want, want_index = oracles.max_pool2d(x, *geometry)
            for layout, given in image_layouts(x):
                y, index = frozen_call(xp.max_pool2d, given, *geometry)
                check_exact(y, want, f"max_pool2d, {case}, {layout}")
                check_exact(index, want_index, f"max_pool2d's index, {case}, {layout}")
        gy = values(want.shape, dtype, seed=1)
        gx = np.zeros(x_shape, np.longdouble)
        for n, i, j, c in np.ndindex(want.shape):
            if want_index[n, i, j, c] >= 0:
                h, w = divmod(int(want_index[n, i, j, c]), x_shape[2])
                gx[n, h, w, c] += gy[n, i, j, c]
        for layout, given in image_layouts(gy):
            got = frozen_call(xp.max_pool2d_grad, given, want_index, x_shape)
            check(got, gx, dtype, FUSED, scale=9, of=f"max_pool2d_grad, {case}, {layout}")
        with pytest.raises(IndexError):
            xp.max_pool2d_grad(gy, want_index + 1 + math.prod(x_shape[1:3]), x_shape)

    @floats
    @pytest.mark.parametrize("include", [False, True])
    @pytest.mark.parametrize("case", [c for c in POOLINGS if POOLINGS[c][4] == (1, 1)])
    def test_avg_pool2d(self, xp: Any, case: str, include: bool, dtype: str) -> None:
        x_shape, kernel, stride, padding, _, ceil = POOLINGS[case]
        geometry, k = (kernel, stride, padding, ceil, include), math.prod(kernel)
        x = values(x_shape, dtype)
        want = oracles.avg_pool2d(x, *geometry)
        for layout, given in image_layouts(x):
            y = frozen_call(xp.avg_pool2d, given, *geometry)
            check_sum(y, want, dtype, k, 3, f"avg_pool2d, {case}, {layout}")
        gy = values(want.shape, dtype, seed=1)
        weights = oracles.avg_pool2d_weights(x_shape, *geometry)
        gx = np.einsum("nijc,ijhw->nhwc", exact(gy), weights)
        for layout, given in image_layouts(gy):
            got = frozen_call(xp.avg_pool2d_grad, given, x_shape, *geometry)
            check_sum(got, gx, dtype, k, 3, f"avg_pool2d_grad, {case}, {layout}")


def _with_nan(x: Array) -> Array:
    y = x.copy()
    y.reshape(-1)[::7] = np.nan
    return y
