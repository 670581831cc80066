"""Pooling over (N, H, W, C); definitions in ``composed/pooling.py``."""

# mypy: allow-untyped-defs, allow-untyped-calls
from __future__ import annotations

import numpy as np
from numba import prange

from babygrad.backends.numba.runtime import helper, kernel


@kernel
def max_pool2d(x, kernel_h, kernel_w, stride, before, dilation, y, index):
    """stride, before (padding) and dilation are (h, w) tuples; y, index (N, HO, WO, C)."""
    height, width = x.shape[1], x.shape[2]
    for line in prange(y.shape[0] * y.shape[1]):
        n, i = line // y.shape[1], line % y.shape[1]
        for j in range(y.shape[2]):
            best, place = y[n, i, j], index[n, i, j]
            best[:] = -np.inf
            place[:] = -1
            for kh in range(kernel_h):
                h = i * stride[0] - before[0] + kh * dilation[0]
                if h < 0 or h >= height:
                    continue
                for kw in range(kernel_w):
                    w = j * stride[1] - before[1] + kw * dilation[1]
                    if 0 <= w < width:
                        _keep_larger(x[n, h, w], h * width + w, best, place)


@helper
def _keep_larger(value, here, best, place):
    for c in range(value.size):
        v = value[c]
        if v > best[c] or place[c] < 0 or (v != v and best[c] == best[c]):
            best[c] = v
            place[c] = here


@kernel
def max_pool2d_grad(gy, index, gx, valid):
    """gy, index (N, M, C), gx (N, H W, C) zeros on entry; valid[n] says the indices fit.

    A negative index is that of a window without a pixel.
    """
    for n in prange(gy.shape[0]):
        valid[n] = True
        for m in range(gy.shape[1]):
            for c in range(gy.shape[2]):
                place = index[n, m, c]
                if place >= gx.shape[1]:
                    valid[n] = False
                elif place >= 0:
                    gx[n, place, c] += gy[n, m, c]


@kernel
def avg_pool2d(x, rows, columns, counts, y):
    """rows (HO, 2) and columns (WO, 2): first and last + 1 of each window inside the image."""
    for line in prange(y.shape[0] * y.shape[1]):
        n, i = line // y.shape[1], line % y.shape[1]
        for j in range(y.shape[2]):
            mean = y[n, i, j]
            mean[:] = 0
            for h in range(rows[i, 0], rows[i, 1]):
                for w in range(columns[j, 0], columns[j, 1]):
                    for c in range(x.shape[3]):
                        mean[c] += x[n, h, w, c]
            for c in range(x.shape[3]):
                mean[c] /= counts[i, j]


@kernel
def avg_pool2d_grad(gy, rows, columns, counts, gx):
    """gx (N, H, W, C) zeros on entry."""
    for n in prange(gy.shape[0]):
        for i in range(gy.shape[1]):
            for j in range(gy.shape[2]):
                share = 1 / counts[i, j]
                for h in range(rows[i, 0], rows[i, 1]):
                    for w in range(columns[j, 0], columns[j, 1]):
                        for c in range(gy.shape[3]):
                            gx[n, h, w, c] += gy[n, i, j, c] * share
