"""The operations of the grid in numpy's float64: what all results are checked against.

`operations_babygrad.py` and `operations_torch.py` have the same names. A function `NAME_grad` is
the gradient of NAME: upstream gradient first, then NAME's inputs; it returns one array per input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray

add, multiply, exp, tanh = np.add, np.multiply, np.exp, np.tanh
matmul = np.matmul


def matmul_at(a: Array, b: Array) -> Array:
    return a.swapaxes(-1, -2) @ b


def matmul_bt(a: Array, b: Array) -> Array:
    return a @ b.swapaxes(-1, -2)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def gelu(x: Array) -> Array:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def reduce_sum(x: Array, axis: Any) -> Array:
    return x.sum(axis)


def reduce_max(x: Array, axis: Any) -> Array:
    return x.max(axis)


def reduce_var(x: Array, axis: Any) -> Array:
    return x.var(axis)


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x: Array, axis: int) -> Array:
    return np.log(softmax(x, axis))


def softmax_grad(g: Array, x: Array, axis: int) -> list[Array]:
    y = softmax(x, axis)
    return [y * (g - (g * y).sum(axis, keepdims=True))]


def log_softmax_grad(g: Array, x: Array, axis: int) -> list[Array]:
    return [g - softmax(x, axis) * g.sum(axis, keepdims=True)]


def _normalized(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    scale = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    return (x - x.mean(axes, keepdims=True)) * scale, scale


def _normalized_grad(g: Array, x: Array, w: Array, axes: tuple[int, ...]) -> list[Array]:
    """The gradients by x, w and b; w is broadcast against x already."""
    y, scale = _normalized(x, axes)
    h = g * w
    centered = h - h.mean(axes, keepdims=True) - y * (h * y).mean(axes, keepdims=True)
    others = tuple(i for i in range(x.ndim) if w.shape[i] == 1)
    return [scale * centered, (g * y).sum(others), g.sum(others)]


def layer_norm(x: Array, w: Array, b: Array) -> Array:
    return _normalized(x, (-1,))[0] * w + b


def layer_norm_grad(g: Array, x: Array, w: Array, b: Array) -> list[Array]:
    return _normalized_grad(g, x, w.reshape((1,) * (x.ndim - 1) + (-1,)), (-1,))


def batch_norm(x: Array, w: Array, b: Array) -> Array:
    return _normalized(x, (0, 2, 3))[0] * w[:, None, None] + b[:, None, None]


def batch_norm_grad(g: Array, x: Array, w: Array, b: Array) -> list[Array]:
    return _normalized_grad(g, x, w[None, :, None, None], (0, 2, 3))


def _taps(x: Array, w: Array, out: tuple[int, ...], options: dict[str, int]) -> Any:
    """Each kernel position with the slice of padded x that it multiplies."""
    stride, dilation = options.get("stride", 1), options.get("dilation", 1)
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            rows = slice(i * dilation, i * dilation + (out[0] - 1) * stride + 1, stride)
            columns = slice(j * dilation, j * dilation + (out[1] - 1) * stride + 1, stride)
            yield i, j, (slice(None), slice(None), rows, columns)


def _padded(x: Array, w: Array, padding: int) -> Array:
    sides = [(0, 0), (0, 0), *((padding if k > 1 else 0,) * 2 for k in w.shape[2:])]
    return np.pad(x, sides)


def conv2d(x: Array, w: Array, padding: int = 0, groups: int = 1, **options: int) -> Array:
    """Tap by tap: for each kernel position, a product over the channels of each group."""
    x = _padded(x, w, padding)
    span = [(k - 1) * options.get("dilation", 1) + 1 for k in w.shape[2:]]
    out = [(n - s) // options.get("stride", 1) + 1 for n, s in zip(x.shape[2:], span, strict=True)]
    y = np.zeros((len(x), groups, len(w) // groups, *out))
    grouped = w.reshape(groups, len(w) // groups, *w.shape[1:])
    for i, j, window in _taps(x, w, tuple(out), options):
        seen = x[window].reshape(len(x), groups, -1, *out)
        y += np.einsum("ngchw,goc->ngohw", seen, grouped[..., i, j], optimize=True)
    return y.reshape(len(x), len(w), *out)


def conv2d_grad(
    g: Array, x: Array, w: Array, padding: int = 0, groups: int = 1, **options: int
) -> list[Array]:
    size, x = x.shape, _padded(x, w, padding)
    gx, gw = np.zeros(x.shape), np.zeros((groups, len(w) // groups, *w.shape[1:]))
    grouped = w.reshape(gw.shape)
    out = g.shape[2:]
    g = g.reshape(len(g), groups, -1, *out)
    for i, j, window in _taps(x, w, out, options):
        seen = x[window].reshape(len(x), groups, -1, *out)
        gw[..., i, j] = np.einsum("ngohw,ngchw->goc", g, seen, optimize=True)
        back = np.einsum("ngohw,goc->ngchw", g, grouped[..., i, j], optimize=True)
        gx[window] += back.reshape(len(x), -1, *out)
    inner = [slice((p - n) // 2, (p - n) // 2 + n) for n, p in zip(size, x.shape, strict=True)]
    return [gx[tuple(inner)], gw.reshape(w.shape)]


def conv1d(x: Array, w: Array, padding: int = 0) -> Array:
    return conv2d(x[:, :, None], w[:, :, None], padding)[:, :, 0]


def conv1d_grad(g: Array, x: Array, w: Array, padding: int = 0) -> list[Array]:
    gx, gw = conv2d_grad(g[:, :, None], x[:, :, None], w[:, :, None], padding)
    return [gx[:, :, 0], gw[:, :, 0]]


def make_sgd(p: Array, g: Array) -> Callable[[], Array]:
    """The first step with momentum 0.9, whose velocity is g itself."""
    return lambda: p - 0.01 * g


def make_adam(p: Array, g: Array) -> Callable[[], Array]:
    """The first step: m / (1 - beta1) is g and v / (1 - beta2) is its square."""
    return lambda: p - 0.001 * g / (np.abs(g) + 1e-8)
