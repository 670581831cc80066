"""Shape: the same values in another arrangement, as views wherever numpy gives one.

A view shares memory with its input: writing into one is seen in the other, and counts as a write
to both. Each gradient is the arrangement undone.
"""

from __future__ import annotations

import math
from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.dtypes import DType, as_dtype
from babygrad.ops._common import lifted, normalize_axes, normalize_axis
from babygrad.tensor import Tensor


class Cast(Function):
    uses = ("",)

    def __init__(self, dtype: DType) -> None:
        self.to = dtype

    @property
    def differentiable(self) -> bool:  # type: ignore[override]
        return self.to.kind == "f"

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.astype(a, self.to)

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
    a = lifted("reshape", a, None)
    sizes = tuple(int(n) for n in shape) if isinstance(shape, tuple | list) else (int(shape),)
    return Reshape(_complete(a, sizes))(a)


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


class PermuteDims(Function):
    uses = ("",)

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.permute_dims(a, self.axes)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        inverse = [0] * len(self.axes)
        for position, axis in enumerate(self.axes):
            inverse[axis] = position
        return PermuteDims(tuple(inverse))(out_grad)


def permute(a: Tensor, axes: Any) -> Tensor:
    """The axes in another order, a view.

    Parameters
    ----------
    a : Tensor
    axes : tuple of int
        Every axis once: axis `i` of the result is axis `axes[i]` of `a`.
    """
    order = tuple(normalize_axis("permute", axis, a.ndim) for axis in axes)
    if sorted(order) != list(range(a.ndim)):
        raise ValueError(f"permute: axes {tuple(axes)} must name each of {a.ndim} axes once")
    return PermuteDims(order)(a)


def transpose(a: Tensor, axes: Any = None) -> Tensor:
    """Axes exchanged, a view.

    Parameters
    ----------
    a : Tensor
    axes : tuple of int, optional
        Two axes to swap, the last two by default, as in the book; or all axes in a new order.
    """
    a = lifted("transpose", a, None)
    if axes is None:
        axes = (-1, -2) if a.ndim > 1 else range(a.ndim)
    if len(axes) == 2 and a.ndim != 1:
        order = list(range(a.ndim))
        i, j = (normalize_axis("transpose", axis, a.ndim) for axis in axes)
        order[i], order[j] = order[j], order[i]
        return PermuteDims(tuple(order))(a)
    return permute(a, axes)


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
    a = lifted("broadcast_to", a, None)
    sizes = tuple(int(n) for n in shape) if isinstance(shape, tuple | list) else (int(shape),)
    have = a.shape
    trailing = sizes[len(sizes) - len(have) :]
    if len(have) > len(sizes) or any(n != m and n != 1 for n, m in zip(have, trailing, strict=True)):
        raise ValueError(f"broadcast_to: shape {have} does not broadcast to {sizes}")
    return BroadcastTo(sizes)(a)


def expand_to_reduced(g: Tensor, shape: tuple[int, ...], axes: tuple[int, ...]) -> Tensor:
    """A reduction's gradient, whose `axes` are gone, repeated along them to the input's shape."""
    with_ones = tuple(1 if i in axes else n for i, n in enumerate(shape))
    if g._data.shape != with_ones:
        g = Reshape(with_ones)(g)
    return BroadcastTo(shape)(g)


__all__ = [
    "astype",
    "broadcast_to",
    "expand_to_reduced",
    "normalize_axes",
    "permute",
    "reshape",
    "transpose",
]
