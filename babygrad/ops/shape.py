"""Shape: the same values in another arrangement, as views wherever numpy gives one.

`reshape flatten permute transpose swapaxes movedim squeeze unsqueeze broadcast_to expand flip roll`
and `astype`; what joins, repeats and cuts is in `joining`. A view shares memory with its input:
writing into one is seen in the other, and counts as a write to both. Each gradient is the
arrangement undone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.dtypes import as_dtype, is_float
from babygrad.ops._axes import (
    Axes,
    axis_of_element,
    either_axis,
    normalize_axes,
    normalize_axis,
    unknown_argument,
)
from babygrad.ops._common import Member, lifted, sizes_of, whole
from babygrad.tensor import Tensor

# fmt: off
__all__ = [
    "astype", "broadcast_to", "expand", "flatten", "flip", "movedim", "permute", "reshape",
    "roll", "squeeze", "swapaxes", "transpose", "unsqueeze",
]
# fmt: on


class Cast(Member):
    member = "astype"
    uses = ("",)

    @property
    def differentiable(self) -> bool:  # type: ignore[override]
        return is_float(self.settings[0])

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        # The engine brings a gradient to its input's type.
        return out_grad


def astype(a: Tensor, dtype: Any) -> Tensor:
    """The values in another type; the tensor itself when it has that type already.

    Parameters
    ----------
    a : Tensor
    dtype : str or dtype
        Gradients flow through casts between floating types.
    """
    if dtype is a._data.dtype:
        return a
    wanted = as_dtype(dtype, "astype")
    return a if wanted is a._data.dtype or wanted == a._data.dtype else Cast(wanted)(a)


class Reshape(Function):
    uses = ("",)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.to = shape

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.reshape(a, self.to)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return Reshape(node._inputs[0].shape)(out_grad)


def reshape(a: Tensor, shape: Any) -> Tensor:
    """The values in row-major order under another shape; a view when the memory allows.

    Parameters
    ----------
    a : Tensor
    shape : int or tuple of int
        With the same number of elements; one size may be -1 and is then inferred.

    Raises
    ------
    ValueError
        When the number of elements differs, or -1 is ambiguous.
    """
    a = lifted("reshape", a)
    return Reshape(_complete(a, sizes_of("reshape", shape)))(a)


def _complete(a: Tensor, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes with -1 replaced, checked against the number of elements."""
    known = math.prod(n for n in sizes if n != -1)
    unknown = sizes.count(-1)
    if unknown == 1 and known > 0 and a._data.size % known == 0:
        return tuple(a._data.size // known if n == -1 else n for n in sizes)
    if unknown == 0 and known == a._data.size and all(n >= 0 for n in sizes):
        return sizes
    raise ValueError(
        f"reshape: a tensor of shape {a.shape} with {a.size} elements does not fit shape {sizes}"
    )


def flatten(a: Tensor, start_axis: int = 0, end_axis: int = -1) -> Tensor:
    """The axes from `start_axis` to `end_axis`, both included, as one."""
    a = lifted("flatten", a)
    if a.ndim == 0:
        return reshape(a, 1)
    start = normalize_axis("flatten", start_axis, a.shape)
    end = normalize_axis("flatten", end_axis, a.shape)
    if start > end:
        raise ValueError(f"flatten: start_axis {start_axis} comes after end_axis {end_axis}")
    merged = math.prod(a.shape[start : end + 1])
    return Reshape((*a.shape[:start], merged, *a.shape[end + 1 :]))(a)


def squeeze(a: Tensor, axes: Axes = None, *, axis: Axes = None, **other: Any) -> Tensor:
    """Without the axes of size 1, all of them by default.

    Raises
    ------
    ValueError
        When an axis that was named has another size.
    """
    if other:
        raise unknown_argument("squeeze", other)
    a, axes = lifted("squeeze", a), either_axis("squeeze", axes, axis)
    if axes is None:
        return Reshape(tuple(n for n in a.shape if n != 1))(a)
    dropped = normalize_axes("squeeze", axes, a.shape)
    for axis in dropped:
        if a.shape[axis] != 1:
            raise ValueError(f"squeeze: axis {axis} of shape {a.shape} does not have size 1")
    return Reshape(tuple(n for i, n in enumerate(a.shape) if i not in dropped))(a)


def unsqueeze(a: Tensor, axis: int) -> Tensor:
    """A new axis of size 1 at the place `axis` of the result."""
    a = lifted("unsqueeze", a)
    place = normalize_axis("unsqueeze", axis, a.shape, new=1)
    return Reshape((*a.shape[:place], 1, *a.shape[place:]))(a)


class PermuteDims(Function):
    uses = ("",)

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.permute_dims(a, self.axes)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return PermuteDims(_inverse(self.axes))(out_grad)


def permute(a: Tensor, axes: Any) -> Tensor:
    """The axes in another order, a view.

    Parameters
    ----------
    a : Tensor
    axes : tuple of int
        Every axis once: axis `i` of the result is axis `axes[i]` of `a`.
    """
    a = lifted("permute", a)
    return PermuteDims(_order("permute", axes, a.shape))(a)


class Transpose(Function):
    """Two axes exchanged, the last two by default, or all of them in a new order: the book's."""

    uses = ("",)

    def __init__(self, axes: Any = None) -> None:
        self.axes = axes

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.permute_dims(a, self._order(a.shape))

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return PermuteDims(_inverse(self._order(node._inputs[0].shape)))(out_grad)

    def _order(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        axes = () if self.axes is None else _listed(self.axes)
        if axes:
            return (_swapped if len(axes) == 2 else _order)("transpose", axes, shape)
        ndim = len(shape)
        return (*range(ndim - 2), ndim - 1, ndim - 2) if ndim > 1 else tuple(range(ndim))


def transpose(a: Tensor, axes: Any = None) -> Tensor:
    """Axes exchanged, a view.

    Parameters
    ----------
    a : Tensor
    axes : tuple of int, optional
        Two axes to swap, the last two by default, as in the book; or all axes in a new order.
    """
    return Transpose(axes)(lifted("transpose", a))


def swapaxes(a: Tensor, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged, a view."""
    a = lifted("swapaxes", a)
    return PermuteDims(_swapped("swapaxes", (axis1, axis2), a.shape))(a)


def _order(op: str, axes: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Non-negative axes, each of the tensor's once."""
    listed = _listed(axes)
    order = tuple([normalize_axis(op, axis, shape) for axis in listed])
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"{op}: axes {listed} must name each of {len(shape)} axes once")
    return order


def _swapped(op: str, axes: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """All axes in their order, but for two that are exchanged."""
    order = list(range(len(shape)))
    i, j = (normalize_axis(op, axis, shape) for axis in axes)
    order[i], order[j] = j, i
    return tuple(order)


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    inverse = [0] * len(order)
    for position, axis in enumerate(order):
        inverse[axis] = position
    return tuple(inverse)


def movedim(a: Tensor, source: Any, destination: Any) -> Tensor:
    """One axis or several moved to other places, the others in their order; a view.

    Parameters
    ----------
    a : Tensor
    source, destination : int or sequence of int
        As many places as axes, none twice.
    """
    a = lifted("movedim", a)
    axes, places = (
        [normalize_axis("movedim", axis, a.shape) for axis in _listed(given)]
        for given in (source, destination)
    )
    if len(axes) != len(places) or len(set(axes)) != len(axes) or len(set(places)) != len(axes):
        raise ValueError(
            f"movedim: source (={source}) and destination (={destination}) must name "
            "equally many axes, none twice"
        )
    order = [axis for axis in range(a.ndim) if axis not in axes]
    for place, axis in sorted(zip(places, axes, strict=True)):
        order.insert(place, axis)
    return PermuteDims(tuple(order))(a)


def _listed(value: Any) -> tuple[Any, ...]:
    """The items of a sequence or array, or the only one."""
    several = hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0
    return tuple(value) if several else (value,)


class BroadcastTo(Function):
    uses = ("",)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.to = shape

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.broadcast_to(a, self.to)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        # The engine sums over the axes along which the input was repeated.
        return out_grad


def broadcast_to(a: Tensor, shape: Any) -> Tensor:
    """The tensor repeated to a larger shape, a read-only view.

    Raises
    ------
    ValueError
        When an axis of `a` is neither 1 nor the size asked for.
    """
    a = lifted("broadcast_to", a)
    return _broadcast("broadcast_to", a, sizes_of("broadcast_to", shape))


def expand(a: Tensor, shape: Any) -> Tensor:
    """`broadcast_to`, where -1 stands for the size that the axis has."""
    a = lifted("expand", a)
    sizes = sizes_of("expand", shape)
    added = len(sizes) - a.ndim
    kept = [a.shape[i - added] if n == -1 and i >= added else n for i, n in enumerate(sizes)]
    return _broadcast("expand", a, tuple(kept))


def _broadcast(op: str, a: Tensor, sizes: tuple[int, ...]) -> Tensor:
    have = a._data.shape
    added = len(sizes) - len(have)
    if added < 0 or any(n not in (1, m) for n, m in zip(have, sizes[added:], strict=True)):
        raise ValueError(f"{op}: shape {have} does not broadcast to {sizes}")
    if any(n < 0 for n in sizes):
        raise ValueError(f"{op}: shape {sizes} has a negative size")
    return BroadcastTo(sizes)(a)


def expand_to_reduced(g: Tensor, shape: tuple[int, ...], axes: Sequence[int]) -> Tensor:
    """A reduction's gradient, whose `axes` are gone, repeated along them to the input's shape."""
    kept = with_ones(shape, axes)
    as_it_is = g._data.ndim == 0 or g._data.shape == kept
    return BroadcastTo(shape)(g if as_it_is else Reshape(kept)(g))


def with_ones(shape: tuple[int, ...], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape that reducing over `axes` leaves with keepdims."""
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


class Flip(Function):
    uses = ("",)

    def __init__(self, axes: Axes = None) -> None:
        self.axes = axes

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.flip(a, normalize_axes("flip", self.axes, a.shape))

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return Flip(self.axes)(out_grad)


def flip(a: Tensor, axes: Axes = None, *, axis: Axes = None, **other: Any) -> Tensor:
    """In reverse order along some axes, all by default; a view."""
    if other:
        raise unknown_argument("flip", other)
    return Flip(either_axis("flip", axes, axis))(lifted("flip", a))


class Roll(Member):
    member = "roll"
    uses = ("",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        shift, axis = self.settings
        return Roll(-shift, axis)(out_grad)


def roll(a: Tensor, shift: Any, axis: Axes = None) -> Tensor:
    """Each element `shift` places further along an axis, and round its end.

    Parameters
    ----------
    a : Tensor
    shift : int or sequence of int
        One for all axes, or one for each; several for one axis add up.
    axis : int or sequence of int, optional
        Without an axis the elements move in row-major order.
    """
    a = lifted("roll", a)
    places = [whole("roll", "shift", n) for n in _listed(shift)]
    if axis is None:
        return reshape(Roll(sum(places), 0)(reshape(a, -1)), a.shape)
    axes = [axis_of_element("roll", k, a.shape) for k in _listed(axis)]
    places = places * len(axes) if len(places) == 1 else places
    axes = axes * len(places) if len(axes) == 1 else axes
    if len(places) != len(axes):
        raise ValueError(f"roll: there are {len(places)} shifts for {len(axes)} axes")
    if a.ndim == 0:
        return Reshape(())(a)
    for n, k in zip(places, axes, strict=True):
        a = Roll(n, k)(a)
    return a
