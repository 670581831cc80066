"""Axes made plain: checked against a shape, counted from the front, under either of their names."""

from __future__ import annotations

from typing import Any

from babygrad.ops._common import floating, lifted, whole
from babygrad.tensor import Tensor

Axes = int | tuple[int, ...] | list[int] | None
Shape = tuple[int, ...]

# What PyTorch calls arguments that are called otherwise here.
_ELSEWHERE = {"dim": "axis", "dims": "axes", "keepdim": "keepdims", "p": "order"}


class AxisError(ValueError, IndexError):
    """An axis that the tensor does not have, an error of both kinds as numpy's `AxisError` is.

    Examples
    --------
    >>> import babygrad
    >>> try:
    ...     babygrad.Tensor([1.0, 2.0]).sum(axis=1)
    ... except IndexError as error:
    ...     print(error)
    sum: axis 1 is out of range for a tensor of shape (2,)
    """


def normalize_axis(op: str, axis: Any, shape: Shape, new: int = 0) -> int:
    """A non-negative axis of a tensor of this shape, or of the result if that has `new` axes more.

    Raises
    ------
    AxisError
        When there is no such axis.
    TypeError
        When the axis is no integer.
    """
    ndim = len(shape) + new
    if axis.__class__ is int and 0 <= axis < ndim:
        return axis
    index = whole(op, "axis", axis)
    if not -ndim <= index < ndim:
        what = "a new axis of a tensor" if new else "a tensor"
        raise AxisError(f"{op}: axis {index} is out of range for {what} of shape {shape}")
    return index % ndim


def axis_of_element(op: str, axis: Any, shape: Shape) -> int:
    """`normalize_axis`, for which the element of a 0-d tensor lies along an axis 0, or -1.

    numpy and PyTorch take it so where elements are looked at along an axis, not the axes moved.
    """
    if not shape and whole(op, "axis", axis) in (0, -1):
        return 0
    return normalize_axis(op, axis, shape)


def normalize_axes(op: str, axes: Any, shape: Shape) -> tuple[int, ...]:
    """Distinct non-negative axes in ascending order; None stands for all.

    Of a 0-d tensor, 0 and -1 name the axis of its element: there are no axes to go over then.

    Raises
    ------
    AxisError
        When an axis is out of range.
    ValueError
        When one is given twice.
    """
    if axes is None:
        return tuple(range(len(shape)))
    if axes.__class__ is int and shape:
        return (normalize_axis(op, axes, shape),)
    if axes.__class__ is tuple and _are_plain(axes, len(shape)):
        return axes
    listed = axes if isinstance(axes, tuple | list) else (axes,)
    plain = sorted([axis_of_element(op, axis, shape) for axis in listed])
    if len(set(plain)) != len(plain):
        raise ValueError(f"{op}: axes {axes} name an axis twice")
    return tuple(plain) if shape else ()


def _are_plain(axes: tuple[Any, ...], ndim: int) -> bool:
    """Whether axes need no work: ints of a tensor with `ndim` axes, in ascending order."""
    before = -1
    for axis in axes:
        if axis.__class__ is not int or not before < axis < ndim:
            return False
        before = axis
    return True


def either_axis(op: str, axes: Any, axis: Any) -> Any:
    """The book's `axes=` or numpy's `axis=`, whichever was given."""
    if axis is None:
        return axes
    if axes is not None:
        raise TypeError(f"{op}: give axes (={axes}) or axis (={axis}), not both")
    return axis


def reduced(
    op: str, a: Any, axes: Axes, axis: Axes, other: dict[str, Any], *, real: bool = False
) -> tuple[Tensor, tuple[int, ...]]:
    """The operand of a reduction, floating if it is to be `real`, and the axes to reduce.

    `axes` and `axis` are what was given under either name, `other` under none that there is.
    """
    if other:
        raise unknown_argument(op, other)
    tensor = floating(op, a) if real else lifted(op, a)
    return tensor, normalize_axes(op, either_axis(op, axes, axis), tensor._data.shape)


def not_empty(op: str, shape: Shape, axes: tuple[int, ...]) -> None:
    """Raise ValueError when there is no element along one of the axes."""
    for axis in axes:
        if shape[axis] == 0:
            raise ValueError(f"{op}: axis {axis} of shape {shape} is empty; it has no {op}")


def unknown_argument(op: str, given: dict[str, Any]) -> TypeError:
    """What to raise for a keyword that the operation does not have, with the one that it has."""
    name, value = next(iter(given.items()))
    known = _ELSEWHERE.get(name)
    advice = f"; it is called {known} here: {known}={value!r}" if known else ""
    return TypeError(f"{op}: there is no argument {name}{advice}")
