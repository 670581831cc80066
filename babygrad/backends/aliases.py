"""Names for the types that every backend member is written in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Scalar: TypeAlias = bool | int | float
Operand: TypeAlias = Array | Scalar
Shape: TypeAlias = tuple[int, ...]
Axis: TypeAlias = int | tuple[int, ...] | None
DType: TypeAlias = Any
Index: TypeAlias = Any

Pair: TypeAlias = tuple[int, int]
"""(height, width)."""
Padding: TypeAlias = tuple[Pair, Pair]
"""((top, bottom), (left, right))."""
Arrays: TypeAlias = Sequence[Array]
