"""Which operation each operator and method of Tensor is."""

from __future__ import annotations

from typing import Any

from babygrad.ops import arithmetic, reduction, shape
from babygrad.tensor import Tensor


def _reshape(a: Tensor, *sizes: Any) -> Tensor:
    return shape.reshape(a, sizes[0] if len(sizes) == 1 else sizes)


METHODS: dict[str, Any] = {
    # ----- operators -----
    "__add__": arithmetic.add,
    "__radd__": lambda a, b: arithmetic.add(b, a),
    "__sub__": arithmetic.subtract,
    "__rsub__": lambda a, b: arithmetic.subtract(b, a),
    "__mul__": arithmetic.multiply,
    "__rmul__": lambda a, b: arithmetic.multiply(b, a),
    "__truediv__": arithmetic.divide,
    "__rtruediv__": lambda a, b: arithmetic.divide(b, a),
    "__neg__": arithmetic.negate,
    # ----- shape -----
    "astype": shape.astype,
    "broadcast_to": shape.broadcast_to,
    "reshape": _reshape,
    "transpose": shape.transpose,
    # ----- reductions -----
    "sum": reduction.summation,
}

for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
