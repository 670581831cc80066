"""What the members should return: the plain formula in longdouble, or plain loops.

Nothing here is shared with a backend, and nothing is fast.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from babygrad.backends.aliases import Array, Padding, Pair, Shape
from babygrad.testing.tolerance import Exact


def exact(x: Any) -> Exact:
    return np.asarray(x, np.longdouble)


erf = np.frompyfunc(math.erf, 1, 1)


def normal_cdf(x: Array) -> Exact:
    return exact(np.frompyfunc(lambda t: math.erfc(-float(t) / math.sqrt(2)) / 2, 1, 1)(x))


# ----- Activations: value and slope at x -----


def sigmoid(x: Array) -> Exact:
    return 1 / (1 + np.exp(-x))


def sigmoid_slope(x: Array) -> Exact:
    return sigmoid(x) * sigmoid(-x)


def softplus(x: Array) -> Exact:
    return np.where(x > 50, x, np.log1p(np.exp(np.minimum(x, 50))))


def silu(x: Array) -> Exact:
    return np.where(x == -np.inf, 0, x * sigmoid(x))


def silu_slope(x: Array) -> Exact:
    return sigmoid(x) + x * sigmoid_slope(x)


def tanh_form_cdf(x: Array) -> Exact:
    return (1 + np.tanh(np.sqrt(2 / exact(np.pi)) * (x + exact(0.044715) * x**3))) / 2


def gelu(x: Array, approximate: bool) -> Exact:
    return x * (tanh_form_cdf(x) if approximate else normal_cdf(x))


def gelu_slope(x: Array, approximate: bool) -> Exact:
    if not approximate:
        return normal_cdf(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * exact(np.pi))
    factor = np.sqrt(2 / exact(np.pi))
    bend = np.tanh(factor * (x + exact(0.044715) * x**3))
    return (1 + bend) / 2 + x * (1 - bend**2) / 2 * factor * (1 + 3 * exact(0.044715) * x**2)


def elu(x: Array, alpha: float) -> Exact:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_slope(x: Array, alpha: float) -> Exact:
    return np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


# ----- Softmax, along the last axis -----


def softmax(x: Array) -> Exact:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def softmax_jacobian(y: Array) -> Exact:
    """(..., C) -> (..., C, C): dy_i / dx_j = y_i (1[i = j] - y_j)."""
    return y[..., :, None] * (np.eye(y.shape[-1]) - y[..., None, :])


# ----- Convolution and pooling, window by window -----


def windows(
    out: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, size: Shape
) -> Iterator[tuple[int, int, list[tuple[int, int, int, int]]]]:
    """Each output pixel (i, j) with the (kh, kw, h, w) that fall inside the image."""
    for i, j in itertools.product(range(out[0]), range(out[1])):
        inside = []
        for kh, kw in itertools.product(range(kernel[0]), range(kernel[1])):
            h = i * stride[0] + kh * dilation[0] - padding[0][0]
            w = j * stride[1] + kw * dilation[1] - padding[1][0]
            if 0 <= h < size[0] and 0 <= w < size[1]:
                inside.append((kh, kw, h, w))
        yield i, j, inside


def pooled(size: int, kernel: int, stride: int, padding: Pair, dilation: int, ceil: bool) -> int:
    """Counts the starts that leave room for a window, one by one."""
    span = dilation * (kernel - 1) + 1
    count = 0
    while count * stride + span <= size + sum(padding):
        count += 1
    runs_over = (count - 1) * stride + span < size + sum(padding)
    starts_inside = count * stride < size + padding[0]
    return count + (ceil and runs_over and starts_inside)


def convolution_size(
    x: Shape, w: Shape, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[int, int]:
    return (
        pooled(x[1], w[0], stride[0], padding[0], dilation[0], False),
        pooled(x[2], w[1], stride[1], padding[1], dilation[1], False),
    )


def conv2d(
    x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Exact:
    out = convolution_size(x.shape, w.shape, stride, padding, dilation)
    y = np.zeros((len(x), *out, w.shape[3]), np.longdouble)
    for c, o, group in _grouped(w.shape, groups):
        for i, j, inside in windows(out, w.shape[:2], stride, padding, dilation, x.shape[1:3]):
            for kh, kw, h, ww in inside:
                y[:, i, j, o] += x[:, h, ww, group + c] * w[kh, kw, c, o]
    return y


def conv2d_grads(
    gy: Array, x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> tuple[Exact, Exact]:
    """gx and gw: every product of conv2d, seen from its two factors."""
    gx, gw = np.zeros(x.shape, np.longdouble), np.zeros(w.shape, np.longdouble)
    for c, o, group in _grouped(w.shape, groups):
        for i, j, inside in windows(
            gy.shape[1:3], w.shape[:2], stride, padding, dilation, x.shape[1:3]
        ):
            for kh, kw, h, ww in inside:
                gx[:, h, ww, group + c] += gy[:, i, j, o] * w[kh, kw, c, o]
                gw[kh, kw, c, o] += (gy[:, i, j, o] * x[:, h, ww, group + c]).sum()
    return gx, gw


def _grouped(w: Shape, groups: int) -> Iterator[tuple[int, int, int]]:
    """Channel within the group, output channel, first channel of the group."""
    for c, o in itertools.product(range(w[2]), range(w[3])):
        yield c, o, o // (w[3] // groups) * w[2]


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil: bool
) -> tuple[Exact, Exact]:
    out = _pool_size(x.shape, kernel, stride, padding, dilation, ceil)
    y = np.empty((len(x), *out, x.shape[3]), x.dtype)
    index = np.empty(y.shape, np.int64)
    for n, c in itertools.product(range(len(x)), range(x.shape[3])):
        for i, j, inside in windows(out, kernel, stride, padding, dilation, x.shape[1:3]):
            seen = [x[n, h, w, c] for _, _, h, w in inside]
            if not seen:
                y[n, i, j, c], index[n, i, j, c] = -np.inf, -1
                continue
            best = next((k for k, v in enumerate(seen) if np.isnan(v)), None)
            best = seen.index(max(seen)) if best is None else best
            y[n, i, j, c] = seen[best]
            index[n, i, j, c] = inside[best][2] * x.shape[2] + inside[best][3]
    return y, index


def avg_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, ceil: bool, include: bool
) -> Exact:
    weights = avg_pool2d_weights(x.shape, kernel, stride, padding, ceil, include)
    return np.einsum("nhwc,ijhw->nijc", exact(x), weights)


def avg_pool2d_weights(
    x: Shape, kernel: Pair, stride: Pair, padding: Padding, ceil: bool, include: bool
) -> Exact:
    """(HO, WO, H, W): the linear map that average pooling is."""
    out = _pool_size(x, kernel, stride, padding, (1, 1), ceil)
    weights = np.zeros((*out, *x[1:3]), np.longdouble)
    padded = (x[1] + sum(padding[0]), x[2] + sum(padding[1]))
    no_padding = ((0, 0), (0, 0))
    counted = windows(out, kernel, stride, no_padding, (1, 1), padded)
    for (i, j, inside), (_, _, within) in zip(
        windows(out, kernel, stride, padding, (1, 1), x[1:3]), counted, strict=True
    ):
        for _, _, h, w in inside:
            weights[i, j, h, w] = exact(1) / len(within if include else inside)
    return weights


def _pool_size(
    x: Shape, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil: bool
) -> tuple[int, int]:
    return (
        pooled(x[1], kernel[0], stride[0], padding[0], dilation[0], ceil),
        pooled(x[2], kernel[1], stride[1], padding[1], dilation[1], ceil),
    )


# ----- Normalization, along the last axis -----


def normalize(x: Array, eps: float) -> tuple[Exact, Exact, Exact]:
    """x_hat, mean, rstd."""
    mean = x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + exact(eps))
    return (x - mean) * rstd, mean, rstd


def normalize_grad(g: Array, x_hat: Array, rstd: Array) -> Exact:
    """g times the Jacobian rstd (I - 1/n - x_hat x_hat^T / n), written out."""
    n = g.shape[-1]
    outer = x_hat[..., :, None] * x_hat[..., None, :]
    jacobian = rstd[..., None] * (np.eye(n) - (1 + outer) / n)
    return np.einsum("...i,...ij->...j", g, jacobian)


# ----- Attention -----


def attention_probabilities(
    q: Array, k: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Exact, Exact]:
    """p (B, H, L, S) and lse (B, H, L); a row without a visible position is 0."""
    scores = np.einsum("bhld,bhsd->bhls", q, k) * exact(scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + exact(mask)
    if causal:
        length, sources = scores.shape[-2:]
        hidden = np.arange(sources)[None, :] > np.arange(length)[:, None]
        scores = np.where(hidden, -np.inf, scores)
    visible = np.isfinite(scores).any(-1, keepdims=True)
    p = np.where(visible, softmax(np.where(visible, scores, 0)), 0)
    with np.errstate(divide="ignore"):
        return p, np.log(np.exp(scores).sum(-1))
