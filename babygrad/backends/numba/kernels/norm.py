"""Normalizations and their gradients; definitions in ``composed/normalization.py``.

An array of length 0 stands for an absent weight or bias. Sums over rows are kept in one partial
sum for each of at most 64 blocks of rows, which the caller adds up.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
from __future__ import annotations

import math

import numpy as np
from numba import prange

from babygrad.backends.numba.kernels.scalar import block, dot, squared_deviation, total
from babygrad.backends.numba.runtime import helper, kernel

# The variance below which squares lose digits in float64, in which all sums are, and the powers of
# two for what is below it and for what overflows.
SMALL, UP, DOWN = 2.0**-900, 2.0**600, 2.0**-540


@kernel
def layer_norm(x, w, b, eps, y, mean, rstd):
    n = x.shape[1]
    for i in prange(x.shape[0]):
        m, r = _statistics(x[i], eps, True)
        mean[i] = m
        rstd[i] = r
        for j in range(n):
            y[i, j] = (x[i, j] - m) * r
        _scale_row(y[i], w, b)


@helper
def _statistics(x, eps, centred):
    """The mean, or 0 unless it is to be ``centred``, and rstd."""
    n = x.size
    m = total(x) / n if centred else 0.0
    variance = squared_deviation(x, m) / n + eps
    if SMALL < variance < np.inf:
        return m, 1 / math.sqrt(variance)
    # Squares that overflow or vanish: relative to a power of two.
    scale = UP if variance < SMALL else DOWN
    m = squares = 0.0
    if centred:
        for j in range(n):
            m += x[j] * scale
        m /= n
    for j in range(n):
        squares += (x[j] * scale - m) ** 2
    return m / scale, scale / math.sqrt(squares / n + eps * scale * scale)


@helper
def _scale_row(y, w, b):
    if w.size:
        for j in range(y.size):
            y[j] *= w[j]
    if b.size:
        for j in range(y.size):
            y[j] += b[j]


@kernel
def layer_norm_grad(gy, x, w, mean, rstd, gx, gw, gb):
    """gw, gb : (blocks, D) float64 partial sums, zeros on entry."""
    rows, n = x.shape
    blocks = gw.shape[0]
    for k in prange(blocks):
        first, last = block(k, blocks, rows)
        for i in range(first, last):
            m, r = np.float64(mean[i]), np.float64(rstd[i])
            for j in range(n):
                gx[i, j] = gy[i, j] * w[j] if w.size else gy[i, j]
            g_mean = total(gx[i]) / n
            along = (dot(gx[i], x[i]) - m * g_mean * n) * r / n
            for j in range(n):
                x_hat = (x[i, j] - m) * r
                gx[i, j] = r * ((gx[i, j] - g_mean) - x_hat * along)
                gw[k, j] += gy[i, j] * x_hat
                gb[k, j] += gy[i, j]


@kernel
def rms_norm(x, w, eps, y, rstd):
    n = x.shape[1]
    for i in prange(x.shape[0]):
        _, r = _statistics(x[i], eps, False)
        rstd[i] = r
        for j in range(n):
            y[i, j] = x[i, j] * r
        _scale_row(y[i], w, w[:0])


@kernel
def rms_norm_grad(gy, x, w, rstd, gx, gw):
    """gw : (blocks, D) float64 partial sums, zeros on entry."""
    rows, n = x.shape
    blocks = gw.shape[0]
    for k in prange(blocks):
        first, last = block(k, blocks, rows)
        for i in range(first, last):
            r = np.float64(rstd[i])
            for j in range(n):
                gx[i, j] = gy[i, j] * w[j] if w.size else gy[i, j]
            along = dot(gx[i], x[i]) * r / n
            for j in range(n):
                x_hat = x[i, j] * r
                gx[i, j] = r * (gx[i, j] - x_hat * along)
                gw[k, j] += gy[i, j] * x_hat


# ----- Batch normalization: x is (A, C, S), the channels between other axes -----


@kernel
def channel_sums(x, sums):
    """sums : (blocks, C) float64, zeros on entry."""
    blocks = sums.shape[0]
    for k in prange(blocks):
        first, last = block(k, blocks, x.shape[0])
        for a in range(first, last):
            if x.shape[2] == 1:
                for c in range(x.shape[1]):
                    sums[k, c] += x[a, c, 0]
            else:
                for c in range(x.shape[1]):
                    sums[k, c] += total(x[a, c])


@kernel
def channel_squared_deviations(x, mean, sums):
    """sums : (blocks, C) float64, zeros on entry; of (x - mean)^2."""
    blocks = sums.shape[0]
    for k in prange(blocks):
        first, last = block(k, blocks, x.shape[0])
        for a in range(first, last):
            if x.shape[2] == 1:
                for c in range(x.shape[1]):
                    sums[k, c] += (x[a, c, 0] - mean[c]) ** 2
            else:
                for c in range(x.shape[1]):
                    sums[k, c] += squared_deviation(x[a, c], mean[c])


@kernel
def channel_grad_sums(gy, x, mean, rstd, g_sums, along_sums):
    """The sums of gy and of gy x_hat : (blocks, C) float64, zeros on entry."""
    blocks = g_sums.shape[0]
    for k in prange(blocks):
        first, last = block(k, blocks, x.shape[0])
        for a in range(first, last):
            for c in range(x.shape[1]):
                g = along = 0.0
                for s in range(x.shape[2]):
                    g += gy[a, c, s]
                    along += gy[a, c, s] * (x[a, c, s] - mean[c])
                g_sums[k, c] += g
                along_sums[k, c] += along * rstd[c]


@kernel
def channel_affine(x, mean, scale, shift, y):
    """y = (x - mean) scale + shift for each channel."""
    for a in prange(x.shape[0]):
        if x.shape[2] == 1:
            for c in range(x.shape[1]):
                y[a, c, 0] = (x[a, c, 0] - mean[c]) * scale[c] + shift[c]
        else:
            for c in range(x.shape[1]):
                for s in range(x.shape[2]):
                    y[a, c, s] = (x[a, c, s] - mean[c]) * scale[c] + shift[c]


@kernel
def channel_grad(gy, x, mean, rstd, scale, g_mean, along, gx):
    """gx = scale (gy - g_mean - x_hat along) for each channel."""
    for a in prange(x.shape[0]):
        for c in range(x.shape[1]):
            for s in range(x.shape[2]):
                x_hat = (x[a, c, s] - mean[c]) * rstd[c]
                gx[a, c, s] = scale[c] * ((gy[a, c, s] - g_mean[c]) - x_hat * along[c])
