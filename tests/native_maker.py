"""Arrays for the arguments of kernels: halves from -3 to 3, whose sums are exact."""

from __future__ import annotations

from typing import Any

import numpy as np


class Maker:
    """Arrays of one dtype, the same ones for the same calls."""

    def __init__(self, dtype: str, large: bool) -> None:
        self.dtype = dtype
        self.large = large
        self.rng = np.random.default_rng(0)

    def pick(self, small: int, large: int) -> int:
        return large if self.large else small

    def array(self, *shape: int, low: int = -3) -> Any:
        return np.asarray(self.rng.integers(2 * low, 7, shape) / 2, self.dtype)

    def positive(self, *shape: int) -> Any:
        return self.array(*shape, low=1)

    def places(self, limit: int, *shape: int) -> Any:
        return self.rng.integers(0, limit, shape)

    @property
    def matrix(self) -> tuple[int, int]:
        """400,000 numbers: more than six chunks of the largest grain, or fifteen of them."""
        return (800, 500) if self.large else (3, 5)

    @property
    def image(self) -> tuple[int, int, int, int]:
        """An image of (N, H, W, C)."""
        return (4, 40, 41, 66) if self.large else (2, 5, 6, 4)
