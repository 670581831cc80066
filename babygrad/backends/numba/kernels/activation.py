"""Activations and their gradients over vectors; definitions in ``composed/activation.py``."""

# mypy: allow-untyped-defs, allow-untyped-calls
from __future__ import annotations

import math

import numpy as np
from numba import prange

from babygrad.backends.numba.kernels.scalar import (
    bounded,
    exp,
    log1p_of_exp,
    normal_cdf,
    normal_cdf_by_tanh,
    sigmoid,
)
from babygrad.backends.numba.runtime import helper, kernel


@kernel
def relu_grad(gy, y, gx):
    for i in prange(gx.size):
        gx[i] = 0 if y[i] <= 0 else gy[i]


@kernel
def sigmoid_all(x, y):
    for i in prange(y.size):
        y[i] = sigmoid(x[i])


@kernel
def sigmoid_grad(gy, y, gx):
    for i in prange(gx.size):
        gx[i] = gy[i] * (y[i] * (1 - y[i]))


@kernel
def tanh_grad(gy, y, gx):
    for i in prange(gx.size):
        gx[i] = gy[i] * (1 - y[i] * y[i])


@kernel
def softplus(x, y):
    for i in prange(y.size):
        y[i] = (0.0 if x[i] < 0 else x[i]) + log1p_of_exp(exp(-abs(x[i])))


@kernel
def softplus_grad(gy, x, gx):
    for i in prange(gx.size):
        gx[i] = gy[i] * sigmoid(x[i])


@kernel
def silu(x, y):
    for i in prange(y.size):
        y[i] = (-800.0 if x[i] < -800.0 else x[i]) * sigmoid(x[i])


@kernel
def silu_grad(gy, x, gx):
    for i in prange(gx.size):
        v = bounded(np.float64(x[i]), 800.0)
        s = sigmoid(v)
        gx[i] = gy[i] * (s * (1 + v * (1 - s)))


@kernel
def gelu(x, y):
    for i in prange(y.size):
        v = np.float64(-40.0 if x[i] < -40.0 else x[i])
        y[i] = v * normal_cdf(v)


@kernel
def gelu_by_tanh(x, y):
    for i in prange(y.size):
        v = np.float64(-40.0 if x[i] < -40.0 else x[i])
        y[i] = v * normal_cdf_by_tanh(v)


@kernel
def gelu_grad(gy, x, gx):
    for i in prange(gx.size):
        v = bounded(np.float64(x[i]), 40.0)
        pdf = exp(-0.5 * v * v) / math.sqrt(2 * math.pi)
        gx[i] = gy[i] * (normal_cdf(v) + v * pdf)


@kernel
def gelu_by_tanh_grad(gy, x, gx):
    for i in prange(gx.size):
        gx[i] = gy[i] * _gelu_by_tanh_slope(bounded(np.float64(x[i]), 40.0))


@helper
def _gelu_by_tanh_slope(x):
    cdf = normal_cdf_by_tanh(x)
    inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return cdf + x * cdf * (1 - cdf) * 2 * inner


@kernel
def elu(x, alpha, y):
    for i in prange(y.size):
        y[i] = x[i] if x[i] > 0 else alpha * math.expm1(x[i])


@kernel
def elu_grad(gy, x, alpha, gx):
    for i in prange(gx.size):
        gx[i] = gy[i] if x[i] > 0 else gy[i] * (alpha * exp(x[i]))


@kernel
def leaky_relu(x, slope, y):
    for i in prange(y.size):
        y[i] = x[i] if x[i] > 0 else x[i] * slope


@kernel
def leaky_relu_grad(gy, x, slope, gx):
    for i in prange(gx.size):
        gx[i] = gy[i] if x[i] > 0 else gy[i] * slope


@kernel
def rsqrt(x, y):
    for i in prange(y.size):
        y[i] = 1 / math.sqrt(x[i])
