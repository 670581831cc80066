"""The Euclidean norm of several arrays together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from babygrad.dtypes import FLOAT64
from babygrad.tensor import NDArray

if TYPE_CHECKING:
    from babygrad.backends.base import Backend

# Sums of squares below this may have lost digits to underflow.
SMALLEST_SUM = 1e-290


def euclidean_norm(arrays: Iterable[tuple[Backend, NDArray]]) -> float:
    """The root of the sum of all squares; 0.0 of nothing.

    Squares are taken in float64, and where they leave its range they are those of the arrays
    divided by their largest element.
    """
    arrays = [(xp, x) for xp, x in arrays if x.size]
    total = sum(float(xp.sum_of_squares(x)) for xp, x in arrays)
    if SMALLEST_SUM < total < math.inf or math.isnan(total):
        return math.sqrt(total)
    largest = max((float(xp.max(xp.abs(x))) for xp, x in arrays), default=0.0)
    if largest == 0 or math.isinf(largest):
        return largest
    wide = ((xp, xp.divide(xp.astype(x, FLOAT64), largest)) for xp, x in arrays)
    return largest * math.sqrt(sum(float(xp.sum_of_squares(x)) for xp, x in wide))
