"""Reductions beside the required ones."""

from __future__ import annotations

import math

from babygrad.backends.aliases import Array, Axis
from babygrad.backends.required import Required


class Reductions(Required):
    """``axis`` is an int, a tuple, or None for all axes."""

    def var(self, x: Array, axis: Axis, keepdims: bool, correction: float) -> Array:
        """sum((x - mean)^2) / (n - correction), NaN where n <= correction.

        Two passes in float64, for in float32 the mean of 1e8 and 1e8 + 8 is one of them. The
        result has the dtype of x.
        """
        wide = self.astype(x, "float64")
        total = self.sum(wide, axis, True)
        count = x.size // max(total.size, 1)
        squares = self.square(self.subtract(wide, self.divide(total, count)))
        degrees = count - correction if count > correction else math.nan
        return self.astype(self.divide(self.sum(squares, axis, keepdims), degrees), x.dtype)
