"""Scalar functions and one-dimensional sums that the kernels share."""

# mypy: allow-untyped-defs, allow-untyped-calls
from __future__ import annotations

import math

import numpy as np

from babygrad.backends.numba.runtime import helper

LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has 32 trailing zero bits, so that n * LN2_HIGH is exact.
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
# Adding 1.5 * 2 ** 52 rounds to a whole number and leaves it in the low bits.
ROUND = 6755399441055744.0


@helper
def exp(x):
    """e ** x within 1 ulp: 2 ** n times the Taylor series of e ** r, |r| <= ln(2) / 2.

    Branch-free so that LLVM vectorises it; the C library's exp is called element by element,
    which takes 4 times as long.
    """
    x = np.float64(x)
    x = -746.0 if x < -746.0 else x
    x = 710.0 if x > 710.0 else x
    n = (x * LOG2_E + ROUND) - ROUND
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = 1 / 6227020800
    p = p * r + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 1 / 2
    p = p * r + 1.0
    p = p * r + 1.0
    # In two factors, since 2 ** n itself overflows or underflows before the result does.
    half = (n * 0.5 + ROUND) - ROUND
    return p * _power_of_2(half) * _power_of_2(n - half)


@helper
def _power_of_2(n):
    """2 ** n for a whole float n: n + 1023 becomes the exponent's bits."""
    biased = np.float64(n + (ROUND + 1023.0)).view(np.int64)
    return np.int64(biased << 52).view(np.float64)


@helper
def log1p_of_exp(e):
    """log(1 + e) for 0 <= e <= 1: 2 artanh(s), s = e / (2 + e) <= 1 / 3, by its series to s^35."""
    s = e / (2.0 + e)
    t = s * s
    p = 1.0 / 35
    for k in range(33, 0, -2):
        p = p * t + 1.0 / k
    return 2.0 * s * p


@helper
def sigmoid(x):
    e = exp(-abs(x))
    return (e if x < 0 else 1.0) / (1.0 + e)


@helper
def bounded(x, limit):
    """x within [-limit, limit], where a function has reached what it is at infinity."""
    x = limit if x > limit else x
    return -limit if x < -limit else x


@helper
def normal_cdf(x):
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@helper
def normal_cdf_by_tanh(x):
    """(1 + tanh(u)) / 2 = sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))


@helper
def total(x):
    """The sum of a vector in float64; eight running sums hide the latency of an addition."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = x.size - x.size % 8
    for j in range(0, whole, 8):
        s0 += x[j]
        s1 += x[j + 1]
        s2 += x[j + 2]
        s3 += x[j + 3]
        s4 += x[j + 4]
        s5 += x[j + 5]
        s6 += x[j + 6]
        s7 += x[j + 7]
    for j in range(whole, x.size):
        s0 += x[j]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@helper
def dot(x, y):
    """sum(x y) in float64."""
    s0 = s1 = s2 = s3 = 0.0
    whole = x.size - x.size % 4
    for j in range(0, whole, 4):
        s0 += np.float64(x[j]) * y[j]
        s1 += np.float64(x[j + 1]) * y[j + 1]
        s2 += np.float64(x[j + 2]) * y[j + 2]
        s3 += np.float64(x[j + 3]) * y[j + 3]
    for j in range(whole, x.size):
        s0 += np.float64(x[j]) * y[j]
    return (s0 + s1) + (s2 + s3)


@helper
def squared_deviation(x, mean):
    """sum((x - mean)^2) in float64."""
    s0 = s1 = s2 = s3 = 0.0
    whole = x.size - x.size % 4
    for j in range(0, whole, 4):
        s0 += (x[j] - mean) ** 2
        s1 += (x[j + 1] - mean) ** 2
        s2 += (x[j + 2] - mean) ** 2
        s3 += (x[j + 3] - mean) ** 2
    for j in range(whole, x.size):
        s0 += (x[j] - mean) ** 2
    return (s0 + s1) + (s2 + s3)


@helper
def largest(x):
    """The largest element of a vector, NaN aside; -inf when there is none."""
    m0 = m1 = m2 = m3 = -np.inf
    whole = x.size - x.size % 4
    for j in range(0, whole, 4):
        m0 = x[j] if x[j] > m0 else m0
        m1 = x[j + 1] if x[j + 1] > m1 else m1
        m2 = x[j + 2] if x[j + 2] > m2 else m2
        m3 = x[j + 3] if x[j + 3] > m3 else m3
    for j in range(whole, x.size):
        m0 = x[j] if x[j] > m0 else m0
    return max(max(m0, m1), max(m2, m3))


@helper
def block(i, blocks, n):
    """First and last + 1 of the i-th of ``blocks`` nearly equal parts of range(n)."""
    return i * n // blocks, (i + 1) * n // blocks
