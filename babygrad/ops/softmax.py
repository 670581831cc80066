"""Softmax and its logarithm.

Every exponent is taken relative to the largest, so that nothing overflows: the softmax of
`[1000, 1000]` is `[0.5, 0.5]`.
"""

from __future__ import annotations

from typing import Any

from babygrad.ops._axes import Axes, either_axis, normalize_axes, unknown_argument
from babygrad.ops._fused import Fused, real
from babygrad.ops.elementwise import exp
from babygrad.tensor import Tensor


class Softmax(Fused):
    member = "softmax"
    uses = ("y",)

    def composed(self, gy: Tensor, saved: Tensor, axes: int | tuple[int, ...]) -> Tensor:
        inner: Tensor = (gy * saved).sum(axes, keepdims=True)
        return (gy - inner) * saved


def softmax(x: Any, axes: Axes = None, *, axis: Axes = None, **other: Any) -> Tensor:
    """`exp(x) / sum(exp(x))` along some axes, the last by default.

    Parameters
    ----------
    x : Tensor
    axes, axis : int or tuple of int, optional
        The axes that the result sums to 1 over.

    Notes
    -----
    A slice that is all -inf, or holds +inf, is NaN; a NaN makes its whole slice NaN.
    """
    x = real("softmax", x)
    over = _axes("softmax", axes, axis, other, x.shape)
    return Softmax(over)(x) if x.size else x


class LogSoftmax(Fused):
    member = "log_softmax"
    uses = ("y",)

    def composed(self, gy: Tensor, saved: Tensor, axes: int | tuple[int, ...]) -> Tensor:
        return gy - exp(saved) * gy.sum(axes, keepdims=True)


def logsoftmax(x: Any, axes: Axes = None, *, axis: Axes = None, **other: Any) -> Tensor:
    """`log(softmax(x))` along some axes, the last by default, without a logarithm of 0."""
    return _logsoftmax("logsoftmax", x, axes, axis, other)


def log_softmax(x: Any, axes: Axes = None, *, axis: Axes = None, **other: Any) -> Tensor:
    """`logsoftmax` under PyTorch's name."""
    return _logsoftmax("log_softmax", x, axes, axis, other)


def _logsoftmax(op: str, x: Any, axes: Axes, axis: Axes, other: dict[str, Any]) -> Tensor:
    x = real(op, x)
    over = _axes(op, axes, axis, other, x.shape)
    return LogSoftmax(over)(x) if x.size else x


def _axes(
    op: str, axes: Axes, axis: Axes, other: dict[str, Any], shape: tuple[int, ...]
) -> int | tuple[int, ...]:
    if other:
        raise unknown_argument(op, other)
    chosen = either_axis(op, axes, axis)
    plain = normalize_axes(op, -1 if chosen is None else chosen, shape)
    return plain[0] if len(plain) == 1 else plain
