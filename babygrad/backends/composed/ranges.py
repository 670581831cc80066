"""The range in which squares of a type are what they should be.

Beyond the root of the largest number a square overflows, below that of the smallest it vanishes:
in float32 those of 1e20, and of 1e-25. What is made of squares and is finite is computed again
there, relative to a power of two.
"""

from __future__ import annotations

import math

from babygrad.backends.aliases import Array
from babygrad.backends.required import Required

# By the size of an element: the sum below which squares lose digits, and the powers of two for what
# is below it and for what overflows.
_RANGES = {4: (2.0**-102, 2.0**100, 2.0**-78), 8: (2.0**-900, 2.0**600, 2.0**-540)}


def scale_of(xp: Required, squares: Array) -> Array | None:
    """What to multiply by before squaring: a power of two for each sum; None, mostly, for all 1."""
    small, up, down = _RANGES.get(squares.dtype.itemsize, _RANGES[4])
    plain = xp.logical_and(xp.less(small, squares), xp.less(squares, math.inf))
    if xp.all(plain):
        return None
    # A sum of NaN may be that of deviations from a mean that overflowed.
    scale = xp.where(xp.less(squares, math.inf), 1, down)
    return xp.astype(xp.where(xp.less(squares, small), up, scale), squares.dtype)
