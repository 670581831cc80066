"""In-place operators: `+= -= *= /= //= %= **=`.

Outside a graph they write into the tensor's own memory. In a graph that would destroy values that
gradients need, so there they stand for `a = a + b`, a new tensor under the old name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from babygrad.autograd import is_grad_enabled, no_grad
from babygrad.tensor import Tensor

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def writable(op: str, a: Tensor) -> None:
    """Raise, before a byte changes, unless `a` may be written to.

    Raises
    ------
    RuntimeError
        For a leaf that requires grad while operations are recorded, and for a read-only view.
    """
    if is_grad_enabled() and a._requires_grad and a._node is None:
        raise RuntimeError(
            f"{op}: this leaf of shape {a.shape} requires grad and cannot be modified in place "
            "while operations are recorded; use no_grad(), or build a new tensor with where, "
            "concatenate or stack"
        )
    if not a._data.flags.writeable:
        raise RuntimeError(
            f"{op}: this tensor of shape {a.shape} is a read-only view whose elements share "
            "memory; copy it with detach() first"
        )


def inplace(op: str, function: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Tensor]:
    """The in-place form of a binary operation, as `op`, `+=` for one, calls it."""

    def method(a: Tensor, b: Any) -> Tensor:
        if is_grad_enabled():
            if a._node is not None:
                return function(a, b)
            if not a._requires_grad and isinstance(b, Tensor) and b._requires_grad:
                return function(a, b)
        writable(op, a)
        with no_grad():
            result = function(a, b)._data
        if result.shape != a._data.shape:
            raise ValueError(
                f"{op}: the result has shape {result.shape}, which does not fit into "
                f"the tensor's shape {a.shape}"
            )
        if _RANK[result.dtype.kind] > _RANK[a._data.dtype.kind]:
            raise TypeError(
                f"{op}: the result is of type {result.dtype}, which does not fit into "
                f"the tensor's {a.dtype}; cast the tensor with astype first"
            )
        a._device.backend.setitem(a._data, ..., result)
        a._touch()
        return a

    return method
