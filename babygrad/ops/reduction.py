"""Reductions: many values to few, over all axes or some.

`summation mean var std norm logsumexp`, and `cumsum`; the largest and the smallest are in
`extremes`, the product in `product`. The axes are called `axes` as in the book or `axis` as in
numpy; `keepdims` leaves them with size 1.
"""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any

from babygrad.autograd import Function, NDArray, is_grad_enabled
from babygrad.ops._axes import (
    Axes,
    axis_of_element,
    normalize_axes,
    not_empty,
    reduced,
)
from babygrad.ops._common import Discrete, Member, lifted, like
from babygrad.ops.chain import chain_multiply
from babygrad.ops.comparison import equal, isinf, not_equal
from babygrad.ops.elementwise import abs as magnitude
from babygrad.ops.elementwise import exp, where
from babygrad.ops.extremes import max as largest
from babygrad.ops.extremes import min as smallest
from babygrad.ops.shape import expand_to_reduced, flip, reshape
from babygrad.tensor import Tensor

__all__ = ["cumsum", "logsumexp", "mean", "norm", "std", "summation", "var"]

# ----- Sums and averages -----


class Summation(Function):
    uses = ("",)

    def __init__(self, axes: Axes = None, keepdims: bool = False) -> None:
        self.axes = axes
        self.keepdims = keepdims

    def forward(self, a: NDArray) -> NDArray:
        axes = self.axes
        if axes is not None:
            axes = normalize_axes("summation", axes, a.shape)
        return self.xp.sum(a, axes, self.keepdims)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        shape = node._inputs[0].shape
        axes = normalize_axes("summation", self.axes, shape)
        return expand_to_reduced(out_grad, shape, axes)


def summation(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
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
        Of the same dtype; int64 for integers and bools, but uint64 for uint64. Sums are pairwise
        or blocked along every axis, so that 2**25 float32 ones add up to 33554432.

    Examples
    --------
    >>> import babygrad
    >>> babygrad.ops.summation(babygrad.Tensor([[1.0, 2.0], [3.0, 4.0]]), axes=0).tolist()
    [4.0, 6.0]
    """
    if axes is None and axis is None and not other:
        return Summation(None, keepdims)(lifted("summation", a))
    return total("summation", a, axes, keepdims, axis, other)


def total(op: str, a: Any, axes: Axes, keepdims: bool, axis: Axes, other: dict[str, Any]) -> Tensor:
    """`summation` by the name that it was called by."""
    a, over = reduced(op, a, axes, axis, other)
    return Summation(over, keepdims)(a)


def mean(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """The average over some or all axes; of integers in float32, from their exact sum.

    The sum of 64-bit integers may lie beyond their range. The mean of no elements is NaN.
    """
    if axes is None and axis is None and not other:
        tensor = lifted("mean", a)
        if tensor._data.dtype.kind == "f":
            return Summation(None, keepdims)(tensor) / tensor._data.size
    tensor, over = reduced("mean", a, axes, axis, other)
    if tensor._data.dtype.kind != "f":
        return Discrete("integer_mean", over, keepdims)(tensor)
    count: int = math.prod(tensor._data.shape[i] for i in over)
    return Summation(over, keepdims)(tensor) / count


def var(
    a: Any,
    axes: Axes = None,
    keepdims: bool = False,
    *,
    axis: Axes = None,
    correction: float = 1,
    **other: Any,
) -> Tensor:
    """The variance over some or all axes, in two passes; of integers in float32.

    Parameters
    ----------
    a : Tensor
    axes, axis, keepdims
        As for `summation`.
    correction : float
        The squared deviations are divided by n - correction: 1 gives the unbiased estimate, as in
        PyTorch, and 0 the variance of the values themselves, numpy's default.

    Warns
    -----
    RuntimeWarning
        When n <= correction, which gives NaN.
    """
    return _var("var", a, axes, keepdims, axis, correction, other)


def std(
    a: Any,
    axes: Axes = None,
    keepdims: bool = False,
    *,
    axis: Axes = None,
    correction: float = 1,
    **other: Any,
) -> Tensor:
    """The standard deviation, the root of `var`; where it is 0 its gradient is 0."""
    return _var("std", a, axes, keepdims, axis, correction, other)


class Variance(Member):
    member = "var"
    uses = ("0",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        centred, degrees = self.deviations(node._inputs[0])
        return (
            expand_to_reduced(out_grad * (2 / degrees), centred.shape, self.settings[0]) * centred
        )

    def deviations(self, a: Tensor) -> tuple[Tensor, float]:
        """Those from the mean, and what the sum of their squares is divided by."""
        axes, _, correction = self.settings
        count: int = math.prod(a.shape[i] for i in axes)
        degrees = count - correction if count > correction else math.nan
        return a - Summation(axes, True)(a) / count, degrees


class Deviation(Variance):
    member = "std"
    uses = ("0y",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        # The deviations relative to their size, so that no square of it is needed.
        centred, degrees = self.deviations(node._inputs[0])
        return _along(out_grad / degrees, centred, node, self.settings[0])


def _along(out_grad: Tensor, vectors: Tensor, lengths: Any, axes: tuple[int, ...]) -> Tensor:
    """The upstream gradient along the vectors' directions; 0 where a vector is 0."""
    still = equal(lengths, 0)
    g = expand_to_reduced(where(still, 0, out_grad), vectors.shape, axes)
    return g * (vectors / expand_to_reduced(where(still, 1, lengths), vectors.shape, axes))


def _var(
    op: str,
    a: Any,
    axes: Axes,
    keepdims: bool,
    axis: Axes,
    correction: float,
    other: dict[str, Any],
) -> Tensor:
    a, over = reduced(op, a, axes, axis, other)
    count = math.prod(a._data.shape[i] for i in over)
    if count <= correction:
        warnings.warn(
            f"{op}: {count} element(s) over axes {over} with correction={correction} give NaN",
            RuntimeWarning,
            stacklevel=3,
        )
    return (Deviation if op == "std" else Variance)(over, keepdims, correction)(a)


class Norm(Member):
    """The square root of a sum of squares, with the derivative 0 at 0."""

    member = "norm"
    uses = ("0y",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return _along(out_grad, node._inputs[0], node, self.settings[0])


def norm(
    a: Any,
    axes: Axes = None,
    keepdims: bool = False,
    *,
    axis: Axes = None,
    order: float = 2,
    **other: Any,
) -> Tensor:
    """The length of the vectors along some or all axes.

    Parameters
    ----------
    a : Tensor
    axes, axis, keepdims
        As for `summation`; over several axes their elements count as one vector.
    order : float
        The root `sum(abs(a) ** order) ** (1 / order)`: 2 is the Euclidean length, 1 the sum of
        magnitudes; infinity is the largest magnitude, minus infinity the smallest, and 0 the
        number of elements that are not 0. An element that is 0 has the gradient 0.

    Raises
    ------
    ValueError
        When the order is no number; there are no norms of matrices.
    """
    a, over = reduced("norm", a, axes, axis, other, real=True)
    if order == 2:
        return Norm(over, keepdims)(a)
    if order == 1:
        return Summation(over, keepdims)(magnitude(a))
    if order == math.inf:
        return largest(magnitude(a), over, keepdims)
    if order == -math.inf:
        return smallest(magnitude(a), over, keepdims)
    if order == 0:
        return Summation(over, keepdims)(not_equal(a, 0).astype(a.dtype))
    if not isinstance(order, Real) or math.isnan(order):
        raise ValueError(f"norm: order (={order!r}) must be a number")
    return _power_norm(a, over, keepdims, order)


def _power_norm(a: Tensor, over: tuple[int, ...], keepdims: bool, order: float) -> Tensor:
    """The norm of any other order, relative to the element that decides: no power overflows."""
    xp = a._device.backend
    # At 0 the powers, or their derivatives, are infinite for some orders.
    zero, nothing = equal(a, 0), 0.0 if order > 0 else math.inf
    sizes = xp.where(zero._data, nothing, xp.abs(a._data))
    unit = like(xp.ones((), a.dtype), a)
    if a.size:
        decides = (xp.max if order > 0 else xp.min)(sizes, over, True)
        usable = xp.logical_and(xp.isfinite(decides), xp.less(0, decides))
        unit = like(xp.where(usable, decides, 1), a)
    powers = where(zero, nothing, magnitude(where(zero, 1, a / unit)) ** order)
    total = Summation(over, True)(powers)
    flat = equal(total, nothing)
    lengths = where(flat, 0, where(flat, 1, total) ** (1 / order)) * unit
    return (
        lengths
        if keepdims
        else reshape(lengths, [n for i, n in enumerate(a.shape) if i not in over])
    )


class LogSumExp(Function):
    uses = ("0y",)

    def __init__(self, axes: Axes = None, keepdims: bool = False) -> None:
        self.axes = axes
        self.keepdims = keepdims

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.logsumexp(a, self._over(a.shape), self.keepdims)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        xp, a = self.xp, node._inputs[0]
        axes = self._over(a.shape)
        if xp.any(xp.isinf(node._data)):
            # Softmax has inf - inf there; a row of nothing but -inf has the weights 0, and one with
            # an inf has the weight 1 at it.
            total = expand_to_reduced(node, a.shape, axes)
            rest = exp(a - where(isinf(total), 0, total))
            weights = where(equal(total, math.inf), equal(a, math.inf), rest)
        elif is_grad_enabled():
            e = exp(a - like(xp.max(a._data, axes, True), a))
            weights = e / Summation(axes, True)(e)
        else:
            weights = like(xp.softmax(a._data, axes), a)
        return chain_multiply(expand_to_reduced(out_grad, a.shape, axes), weights)

    def _over(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return normalize_axes("logsumexp", self.axes, shape)


def logsumexp(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """log(sum(exp(a))), which does not overflow; -inf, with the gradient 0, of nothing but -inf."""
    a, over = reduced("logsumexp", a, axes, axis, other, real=True)
    not_empty("logsumexp", a.shape, over)
    return LogSumExp(over, keepdims)(a)


# ----- Running sums -----


class CumulativeSum(Member):
    member = "cumulative_sum"
    uses = ("",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        (axis,) = self.settings
        return flip(CumulativeSum(axis)(flip(out_grad, axis)), axis)


def cumsum(a: Any, axis: int) -> Tensor:
    """The running sum along an axis, of the shape of `a` and the types of `summation`."""
    a = lifted("cumsum", a)
    along = axis_of_element("cumsum", axis, a.shape)
    return CumulativeSum(along)(a) if a.ndim else reshape(cumsum(reshape(a, 1), 0), ())
