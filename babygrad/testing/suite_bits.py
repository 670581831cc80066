"""The suite's required members that work on the bits of integers, or on bools."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from babygrad.testing.arrays import INTEGERS, with_every_layout
from babygrad.testing.tolerance import check_exact

BITWISE: dict[str, Callable[[int, int], int]] = {
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
}
NUMBERS = [0, 1, 2, 3, 5, 6, 85, 100, 127, -1, -2, -3, -86, -128]


class BitsSuite:
    """Against Python's own integers, of any length."""

    @pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
    @pytest.mark.parametrize("name", BITWISE)
    def test_bitwise(self, xp: Any, name: str, dtype: str) -> None:
        numbers = [0, 1] if dtype == "bool" else NUMBERS
        a, b = np.meshgrid(np.array(numbers, dtype), np.array(numbers, dtype))
        want = np.array([[BITWISE[name](n, m) for n in numbers] for m in numbers], dtype)
        for layout, (x, y) in with_every_layout(a, b):
            check_exact(getattr(xp, name)(x, y), want, f"{name}, {layout}")

    @pytest.mark.parametrize("dtype", INTEGERS)
    def test_invert(self, xp: Any, dtype: str) -> None:
        x = np.array(NUMBERS, dtype)
        check_exact(xp.bitwise_invert(x), np.array([~n for n in NUMBERS], dtype), "bitwise_invert")
        bools = np.array([True, False])
        check_exact(xp.bitwise_invert(bools), bools[::-1], "bitwise_invert")

    @pytest.mark.parametrize("dtype", INTEGERS)
    def test_shifts(self, xp: Any, dtype: str) -> None:
        x = np.array(NUMBERS, dtype)
        bits = 8 * x.dtype.itemsize
        for places in (0, 1, 3, bits - 1):
            y = np.full_like(x, places)
            # What leaves the type at its top is lost; the last bit that stays is the sign.
            kept = [(n << places) % (1 << bits) for n in NUMBERS]
            left = np.array([n - (n >> (bits - 1) << bits) for n in kept], dtype)
            check_exact(xp.bitwise_left_shift(x, y), left, f"bitwise_left_shift by {places}")
            right = np.array([n >> places for n in NUMBERS], dtype)
            check_exact(xp.bitwise_right_shift(x, y), right, f"bitwise_right_shift by {places}")
