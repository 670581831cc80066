"""Softmax, its relatives and cross-entropy, a row at a time."""

from __future__ import annotations

import numpy as np

from babygrad.backends.aliases import Array, Axis
from babygrad.backends.numba.kernels import softmax as kernels
from babygrad.backends.numba.layout import Rows, contiguous, covers, covers_alike
from babygrad.backends.numba.runtime import Kernel
from babygrad.backends.numpy import NumpyBackend


class NumbaSoftmax(NumpyBackend):
    """Kernels for float32 and float64; the definitions for the rest."""

    def softmax(self, x: Array, axis: Axis) -> Array:
        return _by_rows(kernels.softmax, axis, x) if covers(x) else super().softmax(x, axis)

    def softmax_grad(self, gy: Array, y: Array, axis: Axis) -> Array:
        if not covers_alike(y, gy):
            return super().softmax_grad(gy, y, axis)
        return _by_rows(kernels.softmax_grad, axis, gy, y)

    def log_softmax(self, x: Array, axis: Axis) -> Array:
        if not covers(x):
            return super().log_softmax(x, axis)
        return _by_rows(kernels.log_softmax, axis, x)

    def log_softmax_grad(self, gy: Array, y: Array, axis: Axis) -> Array:
        if not covers_alike(y, gy):
            return super().log_softmax_grad(gy, y, axis)
        return _by_rows(kernels.log_softmax_grad, axis, gy, y)

    def logsumexp(self, x: Array, axis: Axis, keepdims: bool) -> Array:
        if not covers(x):
            return super().logsumexp(x, axis, keepdims)
        rows = Rows(x, axis)
        y = np.empty(rows.shape[0], x.dtype)
        kernels.logsumexp(x.size, rows.matrix(x), y)
        return y.reshape(rows.keepdims_shape if keepdims else rows.kept_shape)

    def cross_entropy(self, x: Array, target: Array) -> tuple[Array, Array]:
        if not (covers(x) and _is_target(target, x)):
            return super().cross_entropy(x, target)
        loss, lse = np.empty(x.shape[0], x.dtype), np.empty(x.shape[0], x.dtype)
        kernels.cross_entropy(x.size, contiguous(x), contiguous(target), loss, lse)
        return loss, lse

    def cross_entropy_grad(self, gy: Array, x: Array, lse: Array, target: Array) -> Array:
        fits = gy.shape == lse.shape == x.shape[:1]
        if not (covers(x, gy, lse) and fits and _is_target(target, x)):
            return super().cross_entropy_grad(gy, x, lse, target)
        gx = np.empty(x.shape, x.dtype)
        arrays = (contiguous(a) for a in (gy, x, lse, target))
        kernels.cross_entropy_grad(x.size, *arrays, gx)
        return gx


def _by_rows(kernel: Kernel, axis: Axis, *arrays: Array) -> Array:
    rows = Rows(arrays[0], axis)
    y = np.empty(rows.shape, arrays[0].dtype)
    kernel(y.size, *(rows.matrix(a) for a in arrays), y)
    return rows.restore(y)


def _is_target(target: Array, x: Array) -> bool:
    """Whether the class indices fit the logits; the definition raises if they do not."""
    return (
        x.ndim == 2
        and type(target) is np.ndarray
        and target.dtype == np.int64
        and target.shape == x.shape[:1]
        and bool(target.max() < x.shape[1])
    )
