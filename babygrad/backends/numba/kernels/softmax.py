"""Softmax and cross-entropy over the rows of a matrix; definitions in ``composed/softmax.py``."""

# mypy: allow-untyped-defs, allow-untyped-calls
from __future__ import annotations

import math

import numpy as np
from numba import prange

from babygrad.backends.numba.kernels.scalar import dot, exp, largest, total
from babygrad.backends.numba.runtime import helper, kernel


@kernel
def softmax(x, y):
    for i in prange(x.shape[0]):
        _exp_row(x[i], largest(x[i]), y[i])
        scale = 1 / total(y[i])
        for j in range(x.shape[1]):
            y[i, j] = y[i, j] * scale


@helper
def _exp_row(x, shift, y):
    for j in range(x.size):
        y[j] = exp(x[j] - shift)


@kernel
def softmax_grad(gy, y, gx):
    for i in prange(y.shape[0]):
        inner = dot(gy[i], y[i])
        for j in range(y.shape[1]):
            gx[i, j] = y[i, j] * (gy[i, j] - inner)


@kernel
def log_softmax(x, y):
    for i in prange(x.shape[0]):
        shift = largest(x[i])
        _exp_row(x[i], shift, y[i])
        log_total = math.log(total(y[i]))
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - shift) - log_total


@kernel
def log_softmax_grad(gy, y, gx):
    for i in prange(y.shape[0]):
        g = total(gy[i])
        for j in range(y.shape[1]):
            gx[i, j] = gy[i, j] - exp(y[i, j]) * g


@kernel
def logsumexp(x, y):
    for i in prange(x.shape[0]):
        shift, rest = _row_logsumexp(x[i])
        y[i] = rest + shift


@helper
def _row_logsumexp(x):
    """The largest element, or 0 where that is infinite, and what logsumexp adds to it."""
    shift = largest(x)
    shift = shift if math.isfinite(shift) else 0.0
    e = np.empty_like(x)  # a loop that also adds would not be vectorised
    _exp_row(x, shift, e)
    return shift, math.log(total(e))


@kernel
def cross_entropy(x, target, loss, lse):
    for i in prange(x.shape[0]):
        shift, rest = _row_logsumexp(x[i])
        lse[i] = rest + shift
        loss[i] = 0 if target[i] < 0 else (shift - x[i, target[i]]) + rest


@kernel
def cross_entropy_grad(gy, x, lse, target, gx):
    for i in prange(x.shape[0]):
        t = target[i]
        g = np.float64(gy[i])
        if t < 0:
            gx[i] = 0
        else:
            for j in range(x.shape[1]):
                gx[i, j] = exp(x[i, j] - lse[i]) * g
            gx[i, t] = (exp(x[i, t] - lse[i]) - 1) * g
