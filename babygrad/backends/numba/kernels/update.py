"""Optimizer steps, scatter and sums; definitions in ``composed/`` under the same names."""

# mypy: allow-untyped-defs, allow-untyped-calls
from __future__ import annotations

import math

from numba import prange

from babygrad.backends.numba.kernels.scalar import block, dot, total
from babygrad.backends.numba.runtime import kernel


@kernel
def sgd(p, g, v, lr, momentum, weight_decay, nesterov):
    """v has length 0 without momentum."""
    if v.size == 0:
        for i in prange(p.size):
            p[i] -= lr * (g[i] + weight_decay * p[i])
    else:
        for i in prange(p.size):
            decayed = g[i] + weight_decay * p[i]
            v[i] = momentum * v[i] + decayed
            p[i] -= lr * (decayed + momentum * v[i] if nesterov else v[i])


@kernel
def adam(p, g, m, v, rate, beta1, beta2, root_scale, eps, weight_decay, shrink, largest, limit):
    """rate = lr / (1 - beta1^t), root_scale = 1 / sqrt(1 - beta2^t), shrink = 1 - lr decay.

    limit = sqrt(largest / (1 - beta2)): see ``_add_squares`` of the definition.
    """
    for i in prange(p.size):
        w = shrink * p[i]
        d = g[i] + weight_decay * w
        if abs(d) <= largest:
            d = -limit if d < -limit else limit if d > limit else d
        m[i] = beta1 * m[i] + (1 - beta1) * d
        squares = beta2 * v[i] + (1 - beta2) * d * d
        v[i] = largest if squares > largest else squares
        p[i] = w - rate * m[i] / (math.sqrt(v[i]) * root_scale + eps)


@kernel
def scatter_add(indices, src, out):
    """out (A, L, B) += src (A, K, B) at indices (K,) in [-L, L); blocks of columns in parallel."""
    blocks = (out.shape[2] + 31) // 32
    for part in prange(out.shape[0] * blocks):
        a = part // blocks
        first, last = block(part % blocks, blocks, out.shape[2])
        for k in range(indices.size):
            place = indices[k] if indices[k] >= 0 else indices[k] + out.shape[1]
            for c in range(first, last):
                out[a, place, c] += src[a, k, c]


@kernel
def middle_sums(x, sums):
    """sums (A, blocks, B) float64, zeros on entry: x (A, L, B) added over blocks of its middle."""
    blocks = sums.shape[1]
    for part in prange(x.shape[0] * blocks):
        a, k = part // blocks, part % blocks
        first, last = block(k, blocks, x.shape[1])
        for i in range(first, last):
            for c in range(x.shape[2]):
                sums[a, k, c] += x[a, i, c]


@kernel
def row_sums(x, sums):
    """sums (A, blocks) float64: x (A, L) added over blocks of each row."""
    blocks = sums.shape[1]
    for part in prange(x.shape[0] * blocks):
        a, k = part // blocks, part % blocks
        first, last = block(k, blocks, x.shape[1])
        sums[a, k] = total(x[a, first:last])


@kernel
def squares(x, sums):
    """sums (blocks,) float64: sum(x^2) over blocks of a vector."""
    for k in prange(sums.size):
        first, last = block(k, sums.size, x.size)
        sums[k] = dot(x[first:last], x[first:last])
