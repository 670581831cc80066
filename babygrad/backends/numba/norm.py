"""The normalizations and their gradients."""

from __future__ import annotations

import math

import numpy as np

from babygrad.backends.aliases import Array
from babygrad.backends.numba.kernels import norm as kernels
from babygrad.backends.numba.layout import blocks, contiguous, covers, covers_alike
from babygrad.backends.numpy import NumpyBackend


class NumbaNormalization(NumpyBackend):
    """Kernels for float32 and float64; the definitions for the rest."""

    def layer_norm(
        self, x: Array, w: Array | None, b: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        if not (covers(x, w, b) and _along_last(x, w, b)):
            return super().layer_norm(x, w, b, eps)
        y = np.empty(x.shape, x.dtype)
        mean, rstd = (np.empty((*x.shape[:-1], 1), x.dtype) for _ in range(2))
        kernels.layer_norm(
            x.size, _matrix(x), _vector(w, x), _vector(b, x), float(eps),
            _matrix(y), mean.reshape(-1), rstd.reshape(-1),
        )  # fmt: skip
        return y, mean, rstd

    def layer_norm_grad(
        self, gy: Array, x: Array, w: Array | None, mean: Array, rstd: Array
    ) -> tuple[Array, Array | None, Array | None]:
        if not (covers_alike(x, gy) and covers(x, w, mean, rstd) and _rows_fit(x, w, mean, rstd)):
            return super().layer_norm_grad(gy, x, w, mean, rstd)
        gx = np.empty(x.shape, x.dtype)
        gw, gb = (_partial_sums(x) for _ in range(2))
        kernels.layer_norm_grad(
            x.size, _matrix(gy), _matrix(x), _vector(w, x),
            contiguous(mean).reshape(-1), contiguous(rstd).reshape(-1), _matrix(gx), gw, gb,
        )  # fmt: skip
        if w is None:
            return gx, None, None
        return gx, gw.sum(0).astype(x.dtype), gb.sum(0).astype(x.dtype)

    def rms_norm(self, x: Array, w: Array | None, eps: float) -> tuple[Array, Array]:
        if not (covers(x, w) and _along_last(x, w)):
            return super().rms_norm(x, w, eps)
        y, rstd = np.empty(x.shape, x.dtype), np.empty((*x.shape[:-1], 1), x.dtype)
        kernels.rms_norm(
            x.size, _matrix(x), _vector(w, x), float(eps), _matrix(y), rstd.reshape(-1)
        )
        return y, rstd

    def rms_norm_grad(
        self, gy: Array, x: Array, w: Array | None, rstd: Array
    ) -> tuple[Array, Array | None]:
        if not (covers_alike(x, gy) and covers(x, w, rstd) and _rows_fit(x, w, rstd)):
            return super().rms_norm_grad(gy, x, w, rstd)
        gx, gw = np.empty(x.shape, x.dtype), _partial_sums(x)
        flat_rstd = contiguous(rstd).reshape(-1)
        kernels.rms_norm_grad(
            x.size, _matrix(gy), _matrix(x), _vector(w, x), flat_rstd, _matrix(gx), gw
        )
        return gx, None if w is None else gw.sum(0).astype(x.dtype)

    def batch_norm(
        self, x: Array, w: Array | None, b: Array | None, eps: float, axis: int
    ) -> tuple[Array, Array, Array, Array]:
        if not (covers(x, w, b) and _along_channels(x, axis, w, b)):
            return super().batch_norm(x, w, b, eps, axis)
        channels = _Channels(x, axis)
        seen, count, c = channels.see(x), x.size // x.shape[axis], x.shape[axis]
        sums = np.zeros((blocks(seen.shape[0]), c))
        kernels.channel_sums(x.size, seen, sums)
        mean = sums.sum(0) / count
        sums = np.zeros_like(sums)
        kernels.channel_squared_deviations(x.size, seen, mean, sums)
        var = sums.sum(0) / count
        if not np.isfinite(var).all() or not (var + eps > kernels.SMALL).all():
            return super().batch_norm(x, w, b, eps, axis)
        rstd = 1 / np.sqrt(var + eps)
        scale = rstd if w is None else rstd * w
        shift = np.zeros(c) if b is None else b.astype(np.float64)
        y = np.empty(seen.shape, x.dtype)
        kernels.channel_affine(x.size, seen, mean, scale, shift, y)
        with np.errstate(over="ignore"):  # the variance may, where rstd does not
            mean, var, rstd = (a.astype(x.dtype) for a in (mean, var, rstd))
        return channels.restore(y), mean, var, rstd

    def channel_affine(
        self, x: Array, mean: Array, scale: Array, bias: Array | None, axis: int
    ) -> Array:
        fits = covers(x, mean, scale, bias) and _along_channels(x, axis, mean, scale, bias)
        if not fits:
            return super().channel_affine(x, mean, scale, bias, axis)
        channels = _Channels(x, axis)
        seen = channels.see(x)
        m, s = mean.astype(np.float64), scale.astype(np.float64)
        shift = np.zeros(m.size) if bias is None else bias.astype(np.float64)
        y = np.empty(seen.shape, x.dtype)
        kernels.channel_affine(x.size, seen, m, s, shift, y)
        return channels.restore(y)

    def batch_norm_grad(
        self, gy: Array, x: Array, w: Array | None, mean: Array, rstd: Array, axis: int
    ) -> tuple[Array, Array | None, Array | None]:
        fits = covers_alike(x, gy) and covers(x, w, mean, rstd)
        if not (fits and _along_channels(x, axis, w, mean, rstd)):
            return super().batch_norm_grad(gy, x, w, mean, rstd, axis)
        channels = _Channels(x, axis)
        g, seen, count = channels.see(gy), channels.see(x), x.size // x.shape[axis]
        m, r = mean.astype(np.float64), rstd.astype(np.float64)
        g_sums, along_sums = (np.zeros((blocks(seen.shape[0]), m.size)) for _ in range(2))
        kernels.channel_grad_sums(x.size, g, seen, m, r, g_sums, along_sums)
        gb, gw = g_sums.sum(0), along_sums.sum(0)
        scale = r if w is None else r * w
        gx = np.empty(seen.shape, x.dtype)
        kernels.channel_grad(x.size, g, seen, m, r, scale, gb / count, gw / count, gx)
        if w is None:
            return channels.restore(gx), None, None
        return channels.restore(gx), gw.astype(x.dtype), gb.astype(x.dtype)


class _Channels:
    """An array seen as (A, C, S): the axes before the channels, the channels, the axes after.

    Channels-last memory (S = 1) is seen as it lies; what is dense in neither order is copied to
    it.
    """

    def __init__(self, x: Array, axis: int) -> None:
        axis %= x.ndim
        last = (*(i for i in range(x.ndim) if i != axis), axis)
        self._order = tuple(range(x.ndim)) if x.flags.c_contiguous else last
        self._shape = tuple(x.shape[i] for i in self._order)
        at = self._order.index(axis)
        self._seen = (math.prod(self._shape[:at]), x.shape[axis], math.prod(self._shape[at + 1 :]))

    def see(self, x: Array) -> Array:
        return contiguous(x.transpose(self._order)).reshape(self._seen)

    def restore(self, y: Array) -> Array:
        return y.reshape(self._shape).transpose(tuple(np.argsort(self._order)))


def _matrix(x: Array) -> Array:
    return contiguous(x).reshape(-1, x.shape[-1])


def _vector(w: Array | None, x: Array) -> Array:
    """The weights, or a vector of length 0 in place of None."""
    return np.empty(0, x.dtype) if w is None else contiguous(w)


def _partial_sums(x: Array) -> Array:
    return np.zeros((blocks(x.size // x.shape[-1]), x.shape[-1]))


def _along_last(x: Array, *vectors: Array | None) -> bool:
    return x.ndim > 0 and all(v is None or v.shape == x.shape[-1:] for v in vectors)


def _along_channels(x: Array, axis: int, *vectors: Array | None) -> bool:
    in_range = -x.ndim <= axis < x.ndim
    return in_range and all(v is None or v.shape == (x.shape[axis],) for v in vectors)


def _rows_fit(x: Array, w: Array | None, *columns: Array) -> bool:
    return _along_last(x, w) and all(c.shape == (*x.shape[:-1], 1) for c in columns)
