"""The suite's neural-network half: softmax, losses and norms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from babygrad.backends.aliases import Array
from babygrad.testing import oracles
from babygrad.testing.arrays import FLOATS, LENGTHS, frozen_call, layouts, values, with_every_layout
from babygrad.testing.oracles import exact
from babygrad.testing.tolerance import FUSED, SUM, Exact, check, check_exact, check_sum

floats = pytest.mark.parametrize("dtype", FLOATS)


class SoftmaxSuite:
    @floats
    @pytest.mark.parametrize("name", ["softmax", "log_softmax"])
    def test_softmax(self, xp: Any, name: str, dtype: str) -> None:
        x = values((3, 4, 5), dtype, -8, 8)
        for axis in (-1, 1, 0, None, (0, 2)):
            want = _along(lambda v: _softmax(name, v), x, axis)
            for layout, given in layouts(x):
                got = frozen_call(getattr(xp, name), given, axis)
                # exp(x - max) turns the rounding of x - max, eps |x - max|, into a relative error
                scale = 16 * want if name == "softmax" else 16
                check(got, want, dtype, FUSED, scale=scale, of=f"{name}, {layout}, axis {axis}")
        x = values((2, LENGTHS[-1]), dtype, -8, 8)
        for n in LENGTHS:
            got, want = getattr(xp, name)(x[:, :n], 1), _softmax(name, exact(x[:, :n]))
            scale = 16 * want if name == "softmax" else 16
            check(got, want, dtype, FUSED, scale=scale, of=f"{name}, length {n}")

    @floats
    def test_softmax_extremes(self, xp: Any, dtype: str) -> None:
        large = np.array([[1000, 1000], [1e4, 0]], dtype)
        check_exact(xp.softmax(large, 1), np.array([[0.5, 0.5], [1, 0]], dtype), "softmax")
        hidden = np.array([[-np.inf, 0.0]], dtype)
        check_exact(xp.softmax(hidden, 1), np.array([[0, 1]], dtype), "softmax")
        for n in LENGTHS:
            for place in {0, n // 2, n - 1}:
                x = np.zeros((2, n), dtype)
                x[0, place] = np.nan
                for member in (xp.softmax, xp.log_softmax):
                    got = member(x, 1)
                    assert np.isnan(got[0]).all(), (n, place)
                    assert np.isfinite(got[1]).all(), (n, place)
                assert np.isnan(xp.logsumexp(x, 1, False)).tolist() == [True, False]

    @floats
    @pytest.mark.parametrize("name", ["softmax_grad", "log_softmax_grad"])
    def test_softmax_grad(self, xp: Any, name: str, dtype: str) -> None:
        shape = (3, 4, 5)
        gy, x = values(shape, dtype, seed=1), values(shape, dtype)
        for axis, layout in itertools.product((-1, 0, 1), range(3)):
            y = np.asarray(_along(lambda v: _softmax(name[:-5], v), x, axis), dtype)
            g, p = np.moveaxis(exact(gy), axis, -1), np.moveaxis(exact(y), axis, -1)
            if name == "softmax_grad":
                want = np.einsum("...i,...ij->...j", g, oracles.softmax_jacobian(p))
            else:
                want = g - np.exp(p) * g.sum(-1, keepdims=True)
            given = list(with_every_layout(gy, y))[layout][1]
            got = frozen_call(getattr(xp, name), *given, axis)
            scale = math.sqrt(5) * 3 * 5
            check(got, np.moveaxis(want, -1, axis), dtype, SUM, scale=scale, of=f"{name}, {axis}")

    @floats
    def test_logsumexp(self, xp: Any, dtype: str) -> None:
        x = values((3, 4, 5), dtype, -8, 8)
        for axis, keepdims in itertools.product((None, 0, 1, -1, (0, 2)), (False, True)):
            want = np.log(np.exp(exact(x)).sum(axis, keepdims=keepdims))
            for layout, given in layouts(x):
                got = xp.logsumexp(given, axis, keepdims)
                assert isinstance(got, np.ndarray)
                check(got, want, dtype, FUSED, scale=8, of=f"logsumexp, {layout}, axis {axis}")
        rows = np.array([[-np.inf, -np.inf], [np.inf, 0], [-np.inf, 2], [1000, -1000]], dtype)
        want = np.array([-np.inf, np.inf, 2, 1000], dtype)
        check_exact(xp.logsumexp(rows, 1, False), want, "logsumexp")

    @floats
    def test_cross_entropy(self, xp: Any, dtype: str) -> None:
        for n, classes in ((1, 1), (3, 2), (5, 10), (4, 67)):
            x, target = values((n, classes), dtype, -8, 8), np.arange(n) * 7 % classes
            target[1:2] = -1
            want = np.log(np.exp(exact(x)).sum(1))
            loss = np.where(target < 0, 0, want - exact(x)[np.arange(n), target])
            for layout, given in layouts(x):
                got, lse = frozen_call(xp.cross_entropy, given, target)
                check(lse, want, dtype, FUSED, scale=8, of=f"lse, {layout}")
                check(got, loss, dtype, FUSED, scale=16, of=f"cross_entropy, {layout}")
            gy, lse = values((n,), dtype), np.asarray(want, dtype)
            p = np.exp(exact(x) - exact(lse)[:, None])
            p[np.arange(n), target] -= 1
            gx = np.where(target[:, None] < 0, 0, p * exact(gy)[:, None])
            for layout, given in layouts(x):
                got = frozen_call(xp.cross_entropy_grad, gy, given, lse, target)
                check(got, gx, dtype, FUSED, scale=3 * 16, of=f"cross_entropy_grad, {layout}")
        large = np.array([[1e4, 0]], dtype)
        loss, lse = xp.cross_entropy(large, np.array([1]))
        check_exact(loss, np.array([10000], dtype), "cross_entropy of [1e4, 0]")
        gx = xp.cross_entropy_grad(np.ones(1, dtype), large, lse, np.array([1]))
        check_exact(gx, np.array([[1, -1]], dtype), "cross_entropy_grad of [1e4, 0]")
        broken = np.full((2, 3), np.nan, dtype)
        loss, lse = xp.cross_entropy(broken, np.array([-1, 0]))
        assert loss[0] == 0
        assert np.isnan(loss[1])
        assert not xp.cross_entropy_grad(np.ones(2, dtype), broken, lse, np.array([-1, 0]))[0].any()
        with pytest.raises(IndexError):
            xp.cross_entropy(large, np.array([2]))


class NormalizationSuite:
    @floats
    @pytest.mark.parametrize("shape", [(4, 7), (2, 3, 33), (5, 1), (6,)])
    def test_layer_norm(self, xp: Any, shape: tuple[int, ...], dtype: str) -> None:
        x, gy, d = values(shape, dtype), values(shape, dtype, seed=1), shape[-1]
        w, b = values((d,), dtype, seed=2), values((d,), dtype, seed=3)
        x_hat, mean, rstd = oracles.normalize(exact(x), 1e-3)
        size = float(rstd.max()) * 3 * math.sqrt(d) * 3  # of a term: rstd |x| |w|
        for weight, bias in ((w, b), (w, None), (None, None)):
            want = x_hat if weight is None else x_hat * exact(weight)
            want = want if bias is None else want + exact(bias)
            for layout, given in _some_layouts(x):
                y, m, r = frozen_call(xp.layer_norm, given, weight, bias, 1e-3)
                check(y, want, dtype, SUM, scale=size, of=f"layer_norm, {layout}")
                check_sum(m, mean, dtype, d, 3, "mean")
                check(r, rstd, dtype, SUM, scale=size, of="rstd")
            m, r = np.asarray(mean, dtype), np.asarray(rstd, dtype)
            g = exact(gy) if weight is None else exact(gy) * exact(weight)
            gx = oracles.normalize_grad(g, x_hat, rstd)
            bound = size * 3 * (1 + float(np.abs(x_hat).max()) ** 2)
            leading = tuple(range(len(shape) - 1))
            for layout, (u, v) in with_every_layout(*(np.atleast_2d(gy), np.atleast_2d(x))):
                u, v = u.reshape(shape), v.reshape(shape)
                got, gw, gb = frozen_call(xp.layer_norm_grad, u, v, weight, m, r)
                check(got, gx, dtype, SUM, scale=bound, of=f"layer_norm_grad, {layout}")
                if weight is None:
                    assert gw is None
                    assert gb is None
                    continue
                check(gw, (exact(gy) * x_hat).sum(leading), dtype, SUM, scale=bound, of="gw")
                check(gb, exact(gy).sum(leading), dtype, SUM, scale=bound, of="gb")

    @floats
    def test_variance_takes_two_passes(self, xp: Any, dtype: str) -> None:
        x = np.array([[10000, 10001, 10002, 10003]], dtype)
        y, _, rstd = xp.layer_norm(x, None, None, 0.0)
        want, _, want_rstd = oracles.normalize(exact(x), 0.0)
        check(rstd, want_rstd, dtype, FUSED, of="rstd")
        check(y, want, dtype, FUSED, of="layer_norm of a large mean")
        y, _, var, _ = xp.batch_norm(x.T.copy(), None, None, 0.0, 1)
        check(var, np.array([1.25]), dtype, FUSED, of="variance")
        check(y, want.T, dtype, FUSED, of="batch_norm of a large mean")

    @floats
    @pytest.mark.parametrize("shape", [(4, 7), (2, 3, 33), (5, 1)])
    def test_rms_norm(self, xp: Any, shape: tuple[int, ...], dtype: str) -> None:
        x, gy, d = values(shape, dtype), values(shape, dtype, seed=1), shape[-1]
        w = values((d,), dtype, seed=2)
        rstd = 1 / np.sqrt((exact(x) ** 2).mean(-1, keepdims=True) + exact(1e-3))
        x_hat = exact(x) * rstd
        bound = float(rstd.max()) * 9 * math.sqrt(d) * (1 + float(np.abs(x_hat).max()) ** 2) * 3
        for weight in (w, None):
            scale = exact(1) if weight is None else exact(weight)
            for layout, given in _some_layouts(x):
                y, r = frozen_call(xp.rms_norm, given, weight, 1e-3)
                check(y, x_hat * scale, dtype, FUSED, of=f"rms_norm, {layout}")
                check(r, rstd, dtype, FUSED, of="rstd")
            g = exact(gy) * scale
            outer = x_hat[..., :, None] * x_hat[..., None, :]
            jacobian = rstd[..., None] * (np.eye(d) - outer / d)
            gx, gw = xp.rms_norm_grad(gy, x, weight, np.asarray(rstd, dtype))
            want = np.einsum("...i,...ij->...j", g, jacobian)
            check(gx, want, dtype, SUM, scale=bound, of="rms_norm_grad")
            if weight is None:
                assert gw is None
            else:
                want = (exact(gy) * x_hat).sum(tuple(range(x.ndim - 1)))
                check(gw, want, dtype, SUM, scale=bound, of="gw")

    @floats
    @pytest.mark.parametrize(("shape", "axis"), [((6, 3), 1), ((2, 3, 4, 5), 1), ((4, 5, 3), -1)])
    def test_channel_affine(self, xp: Any, shape: tuple[int, ...], axis: int, dtype: str) -> None:
        x, c = values(shape, dtype, 999, 1001), shape[axis]
        mean, scale, bias = (values((c,), dtype, seed=seed) for seed in (1, 2, 3))
        mean += np.asarray(1000, dtype)
        along = [1] * len(shape)
        along[axis] = c
        for shift in (bias, None):
            want = (exact(x) - exact(mean).reshape(along)) * exact(scale).reshape(along)
            if shift is not None:
                want = want + exact(shift).reshape(along)
            for layout, given in _some_layouts(x):
                y = frozen_call(xp.channel_affine, given, mean, scale, shift, axis)
                check(y, want, dtype, FUSED, scale=20, of=f"channel_affine, {layout}")

    @floats
    @pytest.mark.parametrize("magnitude", ["large", "small"])
    def test_norms_far_out(self, xp: Any, magnitude: str, dtype: str) -> None:
        """Squares that overflow or vanish do not show, in rows beside ordinary ones."""
        power = {"float32": 100, "float64": 700}[dtype] * (1 if magnitude == "large" else -1)
        factor, eps = np.ldexp(np.ones((), dtype), power), 0.0
        x = values((4, 37), dtype, -3, 3)
        x[1::2] *= factor
        x_hat, mean, rstd = oracles.normalize(exact(x), eps)
        y, m, r = xp.layer_norm(x, None, None, eps)
        check(y, x_hat, dtype, SUM, scale=60, of="layer_norm")
        check(m / np.abs(x).max(1, keepdims=True), mean / np.abs(exact(x)).max(1, keepdims=True),
              dtype, SUM, scale=9, of="mean")  # fmt: skip
        check(r * np.abs(x).max(1, keepdims=True), rstd * np.abs(exact(x)).max(1, keepdims=True),
              dtype, SUM, scale=60, of="rstd")  # fmt: skip
        y, _ = xp.rms_norm(x, None, eps)
        want = exact(x) / np.sqrt((exact(x) ** 2).mean(1, keepdims=True))
        check(y, want, dtype, SUM, scale=20, of="rms_norm")
        y, m, _, r = xp.batch_norm(x, None, None, eps, 0)
        check(y, x_hat, dtype, SUM, scale=60, of="batch_norm")
        check(r * np.abs(x).max(1), (rstd * np.abs(exact(x)).max(1, keepdims=True))[:, 0],
              dtype, SUM, scale=60, of="batch_norm's rstd")  # fmt: skip

    @floats
    @pytest.mark.parametrize(("shape", "axis"), [((9, 4), 1), ((2, 3, 4, 5), 1), ((3, 4, 6), -1)])
    def test_batch_norm(self, xp: Any, shape: tuple[int, ...], axis: int, dtype: str) -> None:
        x, gy, c = values(shape, dtype), values(shape, dtype, seed=1), shape[axis]
        w, b = values((c,), dtype, seed=2), values((c,), dtype, seed=3)

        def rows(v: Array) -> Exact:
            return np.moveaxis(exact(v), axis, 0).reshape(c, -1)

        def back(v: Array) -> Exact:
            moved = [c, *np.delete(shape, axis)]
            return np.moveaxis(v.reshape(moved), 0, axis)

        x_hat, mean, rstd = oracles.normalize(rows(x), 1e-3)
        n = x.size // c
        size = float(rstd.max()) * 3 * math.sqrt(n) * 3
        bound = size * 3 * (1 + float(np.abs(x_hat).max()) ** 2)
        for weight, bias in ((w, b), (None, None)):
            scale = np.ones((c, 1)) if weight is None else exact(weight)[:, None]
            shift = np.zeros((c, 1)) if bias is None else exact(bias)[:, None]
            for layout, given in _some_layouts(x):
                y, m, v, r = frozen_call(xp.batch_norm, given, weight, bias, 1e-3, axis)
                check(
                    y,
                    back(x_hat * scale + shift),
                    dtype,
                    SUM,
                    scale=size,
                    of=f"batch_norm, {layout}",
                )
                check_sum(m, mean[:, 0], dtype, n, 3, "mean")
                check_sum(v, rows(x).var(1), dtype, n, 9, "variance")
                check(r, rstd[:, 0], dtype, SUM, scale=size, of="rstd")
            m, r = np.asarray(mean[:, 0], dtype), np.asarray(rstd[:, 0], dtype)
            want = back(oracles.normalize_grad(rows(gy) * scale, x_hat, rstd))
            for layout, (u, given) in with_every_layout(gy, x):
                gx, gw, gb = frozen_call(xp.batch_norm_grad, u, given, weight, m, r, axis)
                check(gx, want, dtype, SUM, scale=bound, of=f"batch_norm_grad, {layout}")
                if weight is None:
                    assert gw is None
                    assert gb is None
                    continue
                check(gw, (rows(gy) * x_hat).sum(1), dtype, SUM, scale=bound, of="gw")
                check(gb, rows(gy).sum(1), dtype, SUM, scale=bound, of="gb")


def _softmax(name: str, x: Array) -> Exact:
    y = oracles.softmax(x)
    return y if name == "softmax" else np.log(y)


def _along(function: Any, x: Array, axis: Any) -> Exact:
    """function, which works along the last axis, along one or several axes of x."""
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    order = [i for i in range(x.ndim) if i not in {a % x.ndim for a in axes}] + list(axes)
    moved = exact(x).transpose(order)
    flat = function(moved.reshape(*moved.shape[: x.ndim - len(axes)], -1))
    return flat.reshape(moved.shape).transpose(np.argsort(np.array(order) % x.ndim))


def _some_layouts(x: Array) -> Any:
    return layouts(x) if x.ndim > 1 else [("contiguous", x), ("strided", np.repeat(x, 2)[::2])]
