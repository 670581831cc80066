"""Extremes, and whether any or all: `max min amax amin argmax argmin any all`."""

from __future__ import annotations

from typing import Any

from babygrad.ops._axes import Axes, axis_of_element, not_empty, reduced, unknown_argument
from babygrad.ops._common import Discrete, Member, lifted, like
from babygrad.ops.shape import expand_to_reduced, with_ones
from babygrad.tensor import Tensor

__all__ = ["all", "amax", "amin", "any", "argmax", "argmin", "max", "min"]


class Max(Member):
    """The largest element; elements that tie share the gradient equally."""

    member = "max"
    uses = ("0y",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        xp, a, axes = self.xp, node._inputs[0], self.settings[0]
        taken = xp.equal(a._data, xp.reshape(node._data, with_ones(a.shape, axes)))
        # The extreme of a slice with NaNs is NaN, which equals nothing: they share it.
        taken = xp.astype(xp.logical_or(taken, xp.isnan(a._data)), a.dtype)
        share = xp.divide(taken, xp.sum(taken, axes, True))
        return expand_to_reduced(out_grad, a.shape, axes) * like(share, a)


class Min(Max):
    """The smallest element, otherwise as `Max`."""

    member = "min"


def max(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """The largest element over some or all axes; NaN where there is one.

    Elements that tie share the gradient equally. PyTorch gives it all to the first when an axis
    is named; `argmax` and `gather` together do that.
    """
    return _extreme(Max, "max", a, axes, keepdims, axis, other)


def min(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """The smallest element over some or all axes, otherwise as `max`."""
    return _extreme(Min, "min", a, axes, keepdims, axis, other)


def amax(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """`max` under the name that numpy and PyTorch also have for it; ties share the gradient."""
    return _extreme(Max, "amax", a, axes, keepdims, axis, other)


def amin(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """`min` under the name that numpy and PyTorch also have for it; ties share the gradient."""
    return _extreme(Min, "amin", a, axes, keepdims, axis, other)


def _extreme(
    kind: type[Max],
    op: str,
    a: Any,
    axes: Axes,
    keepdims: bool,
    axis: Axes,
    other: dict[str, Any],
) -> Tensor:
    a, over = reduced(op, a, axes, axis, other)
    not_empty(op, a.shape, over)
    return kind(over, keepdims)(a)


def argmax(a: Any, axis: int | None = None, keepdims: bool = False, **other: Any) -> Tensor:
    """The position of the first largest element, or of the first NaN; int64.

    With `axis` None the position counts in row-major order.
    """
    return _position("argmax", a, axis, keepdims, other)


def argmin(a: Any, axis: int | None = None, keepdims: bool = False, **other: Any) -> Tensor:
    """The position of the first smallest element, otherwise as `argmax`."""
    return _position("argmin", a, axis, keepdims, other)


def _position(op: str, a: Any, axis: int | None, keepdims: bool, other: dict[str, Any]) -> Tensor:
    if other:
        raise unknown_argument(op, other)
    a = lifted(op, a)
    # Of a 0-d tensor the only position is that over all axes, 0.
    chosen = None if axis is None else axis_of_element(op, axis, a.shape)
    chosen = chosen if a.ndim else None
    not_empty(op, a.shape, tuple(range(a.ndim)) if chosen is None else (chosen,))
    return Discrete(op, chosen, keepdims)(a)


def any(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """Whether an element is true, or not 0."""
    a, over = reduced("any", a, axes, axis, other)
    return Discrete("any", over, keepdims)(a)


def all(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """Whether every element is true, or not 0."""
    a, over = reduced("all", a, axes, axis, other)
    return Discrete("all", over, keepdims)(a)
