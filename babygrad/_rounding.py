"""Numbers in fewer bits, for files: rounded to the nearest, and back.

numpy has no bfloat16, the upper 16 bits of a float32; its numbers are held as uint16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NDArray = np.ndarray[Any, Any]


def rounded(name: str, array: NDArray, dtype: Any) -> NDArray:
    """The nearest values of a type, those of bfloat16 as the upper halves of float32, uint16."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "bfloat16":
            narrow = _upper_halves(array)
            values = from_upper_halves(narrow)
        else:
            narrow = values = array.astype(dtype)
    if (np.isinf(values) & np.isfinite(array)).any():
        largest = np.abs(array[np.isfinite(array)]).max()
        raise ValueError(f"save: {name} has values up to {largest:.4g}, too large for {dtype}")
    return narrow


def _upper_halves(array: NDArray) -> NDArray:
    """The nearest bfloat16 numbers, ties to even, as uint16."""
    values = array.astype(np.float32)
    bits = values.view(np.uint32)
    # A float64 is rounded twice. An odd last digit after the first time (von Neumann's rounding)
    # keeps the second from taking what is a little off a tie for one.
    inexact = (values != array) & (bits & 1 == 0) & ~np.isnan(array)
    bits = np.where(inexact, np.where(abs(values) < abs(array), bits + 1, bits - 1), bits)
    nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, nearest).astype(np.uint16)


def from_upper_halves(halves: NDArray) -> NDArray:
    """The float32 numbers of bfloat16, which are their upper 16 bits, as uint16."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
