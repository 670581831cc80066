"""Reductions: many values to few, over all axes or some."""

from __future__ import annotations

from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.ops._common import Axes, either_axis, lifted, normalize_axes
from babygrad.ops.shape import expand_to_reduced
from babygrad.tensor import Tensor


class Summation(Function):
    uses = ("",)

    def __init__(self, axes: tuple[int, ...] | None, keepdims: bool = False) -> None:
        self.axes = axes
        self.keepdims = keepdims

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.sum(a, self.axes, self.keepdims)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        shape = node._inputs[0].shape
        axes = tuple(range(len(shape))) if self.axes is None else self.axes
        return expand_to_reduced(out_grad, shape, axes)


def summation(
    a: Tensor, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None
) -> Tensor:
    """The sum over some or all axes.

    Parameters
    ----------
    a : Tensor
    axes, axis : int or tuple of int, optional
        The axes to sum over, all by default.
    keepdims : bool
        Leave the summed axes in place with size 1.

    Returns
    -------
    Tensor
        Of the same dtype; int64 for integers and bools. Sums are pairwise or blocked along every
        axis, so that 2**25 float32 ones add up to 33554432.
    """
    a = lifted("summation", a, None)
    axes = either_axis("summation", axes, axis)
    return Summation(None if axes is None else normalize_axes("summation", axes, a.ndim), keepdims)(a)
