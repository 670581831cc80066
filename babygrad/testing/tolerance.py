"""How far a result may be from the exact one: every tolerance of the suite is derived here.

An oracle computes in numpy's longdouble (64 bits of mantissa on x86, at least float64
elsewhere), so its own error is less than the half ulp that rounding to the dtype costs.

- **Arithmetic** (add, multiply, divide, sqrt, ...) is correctly rounded by IEEE 754: 1 ulp, the
  half ulp of the result and the half of rounding the oracle.
- **Functions** (exp, log, tanh, ...) are held to 4 ulp, the bound that backends promise each other.
- **Fused elementwise** members apply at most two functions and four arithmetic operations:
  2 * 4 + 4 = 12 ulp. Where they subtract terms that may cancel, the error is relative to the
  largest term, which the test states as ``scale``.
- **Sums** of K products: rounding errors add up like a random walk, c eps sqrt(K) max|a| max|b|
  with c = 8. (The worst case, K eps, would hide a defect.)
- Integers, bools, indices and comparisons are exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from babygrad.backends.aliases import Array

ARITHMETIC = 1
FUNCTION = 4
FUSED = 12
SUM = 8

Exact = Any
"""A number or array in longdouble."""


def check(got: Any, want: Exact, dtype: str, ulps: float, scale: Exact = 0.0, of: str = "") -> None:
    """Assert |got - want| <= ulps * max(ulp(want), eps * scale), and equal NaN and infinities."""
    want = np.asarray(want, np.longdouble)
    check_type(got, dtype, want.shape, of)
    exact = np.asarray(got, np.longdouble)
    with np.errstate(all="ignore"):
        rounded = want.astype(dtype)
        ulp = np.spacing(np.abs(rounded)).astype(np.longdouble)
        bound = ulps * np.maximum(ulp, np.finfo(dtype).eps * np.abs(np.longdouble(scale)))
        # Just below the largest number, an error of an ulp is an infinity.
        edge = np.abs(want) > np.finfo(dtype).max * (1 - ulps * np.finfo(dtype).eps)
        same = (np.abs(exact - want) <= bound) | (np.isnan(exact) & np.isnan(rounded))
        same |= (exact == rounded) | (edge & np.isinf(exact) & (np.sign(exact) == np.sign(want)))
    if not same.all():
        where = tuple(int(i) for i in np.argwhere(~same)[0])
        allowed = np.broadcast_to(bound, same.shape)[where]
        raise AssertionError(
            f"{of}: {np.count_nonzero(~same)} of {same.size} elements are wrong; "
            f"at {where} {exact[where]} instead of {want[where]} (allowed error {allowed})"
        )


def check_sum(got: Any, want: Exact, dtype: str, length: int, largest: float, of: str = "") -> None:
    """As `check`, for sums of ``length`` terms none of which exceeds ``largest``."""
    check(got, want, dtype, SUM, scale=math.sqrt(max(length, 1)) * largest, of=of)


def check_exact(got: Any, want: Array, of: str = "") -> None:
    """Assert equality in dtype, shape and every element (NaN equals NaN)."""
    check_type(got, str(want.dtype), want.shape, of)
    equal = np.array_equal(got, want, equal_nan=want.dtype.kind == "f")
    assert equal, f"{of}: {got!r} instead of {want!r}"


def check_type(got: Any, dtype: str, shape: tuple[int, ...], of: str = "") -> None:
    """Assert an array (numpy's own scalar passes for 0-d) of this dtype and shape."""
    assert isinstance(got, np.ndarray | np.generic), f"{of}: {type(got).__name__}, not an array"
    assert got.dtype == dtype, f"{of}: dtype {got.dtype} instead of {dtype}"
    assert got.shape == tuple(shape), f"{of}: shape {got.shape} instead of {tuple(shape)}"
