"""Joining, cutting, repeating and masking: tensors put together or taken apart.

`concatenate stack split chunk pad repeat tile tril triu diagonal dilate undilate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.dtypes import INT64
from babygrad.ops._axes import (
    Axes,
    axis_of_element,
    normalize_axes,
    normalize_axis,
    unknown_argument,
)
from babygrad.ops._common import (
    Member,
    check_fits,
    lifted,
    number,
    promoted,
    sizes_of,
    whole,
)
from babygrad.ops.indexing import GetItem, PutItem, take
from babygrad.ops.shape import BroadcastTo, Reshape, permute, reshape, unsqueeze
from babygrad.tensor import Tensor

# fmt: off
__all__ = [
    "chunk", "concatenate", "diagonal", "dilate", "pad", "repeat", "split", "stack", "tile", "tril",
    "triu", "undilate",
]
# fmt: on


def _slice(axis: int, start: int, stop: int) -> GetItem:
    return GetItem((slice(None),) * axis + (slice(start, stop),), False)


class Concatenate(Function):
    uses = ("",)

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: NDArray) -> NDArray:
        return self.xp.concat(arrays, self.axis)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        gradients, start = [], 0
        for part in node._inputs:
            stop = start + part.shape[self.axis]
            wanted = part.requires_grad
            gradients.append(_slice(self.axis, start, stop)(out_grad) if wanted else None)
            start = stop
        return tuple(gradients)


def concatenate(tensors: Sequence[Any], axis: int = 0, **other: Any) -> Tensor:
    """Tensors one after the other along an axis that they have.

    Raises
    ------
    ValueError
        When there are none, or their shapes differ along another axis.
    """
    if other:
        raise unknown_argument("concatenate", other)
    if len(tensors) == 0:
        raise ValueError("concatenate: there must be at least one tensor")
    parts = promoted("concatenate", *tensors)
    first = parts[0].shape
    axis = normalize_axis("concatenate", axis, first)
    for i, part in enumerate(parts):
        there = part.shape
        if len(there) != len(first) or any(
            n != m and k != axis for k, (n, m) in enumerate(zip(there, first, strict=True))
        ):
            raise ValueError(
                f"concatenate: tensor {i} has shape {there} and tensor 0 has shape {first}; "
                f"they may differ along axis {axis} only"
            )
    return Concatenate(axis)(*parts)


def stack(tensors: Sequence[Any], axis: int = 0, **other: Any) -> Tensor:
    """Tensors of one shape one after the other along a new axis."""
    if other:
        raise unknown_argument("stack", other)
    parts = promoted("stack", *tensors) if len(tensors) else []
    shapes = sorted({part.shape for part in parts})
    if len(shapes) != 1:
        raise ValueError(f"stack: there must be tensors, of one shape; their shapes are {shapes}")
    place = normalize_axis("stack", axis, shapes[0], new=1)
    return Concatenate(place)(*[unsqueeze(part, place) for part in parts])


def split(a: Tensor, size: int | Sequence[int], axis: int = 0, **other: Any) -> tuple[Tensor, ...]:
    """Views of `size` elements each along an axis, the last one smaller if need be.

    With a sequence, views of these sizes, which must add up to the axis, as in PyTorch.
    """
    if other:
        raise unknown_argument("split", other)
    a = lifted("split", a)
    axis = normalize_axis("split", axis, a.shape)
    length = a.shape[axis]
    if isinstance(size, tuple | list):
        sizes = sizes_of("split", size)
        if sum(sizes) != length or any(n < 0 for n in sizes):
            raise ValueError(
                f"split: sizes {sizes} must add up to {length}, the size of axis {axis}"
            )
    else:
        step = whole("split", "size", size)
        if step < 1:
            raise ValueError(f"split: size (={step}) must be at least 1")
        sizes = tuple(min(step, length - i) for i in range(0, length, step)) or (0,)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(_slice(axis, i, i + n)(a) for i, n in zip(starts, sizes, strict=True))


def chunk(a: Tensor, chunks: int, axis: int = 0, **other: Any) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal size along an axis, the last one smaller if need be."""
    if other:
        raise unknown_argument("chunk", other)
    a = lifted("chunk", a)
    if whole("chunk", "chunks", chunks) < 1:
        raise ValueError(f"chunk: chunks (={chunks}) must be at least 1")
    length = a.shape[normalize_axis("chunk", axis, a.shape)]
    return split(a, max(1, -(-length // chunks)), axis)


class Pad(Member):
    member = "pad"
    uses = ("",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        shape = node._inputs[0].shape
        inner = tuple(slice(w[0], w[0] + n) for n, w in zip(shape, self.settings[0], strict=True))
        return GetItem(inner, False)(out_grad)


def pad(a: Tensor, widths: Any, value: float = 0.0) -> Tensor:
    """`value` added before and after the elements of each axis.

    Parameters
    ----------
    a : Tensor
    widths : int or sequence
        As for numpy's `pad`: one number for all ends, or a pair (before, after) for each axis.
    value : float
    """
    a, value = lifted("pad", a), number("pad", "value", value)
    given = [(widths, widths)] * a.ndim if isinstance(widths, Integral) else list(widths)
    pairs = tuple(tuple(sizes_of("pad", w)) for w in given)
    if len(pairs) != a.ndim or any(len(w) != 2 or min(w) < 0 for w in pairs):
        raise ValueError(
            f"pad: widths (={widths}) must be a pair of non-negative integers for each of "
            f"{a.ndim} axes"
        )
    check_fits("pad", value, a.dtype)
    return Pad(pairs, value)(a)


# ----- Repeating -----


def repeat(a: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated along an axis, as numpy does; PyTorch's `repeat` is `tile` here.

    Parameters
    ----------
    a : Tensor
    repeats : int, or list, array or Tensor of int
        The same for all, or one for each place along the axis.
    axis : int, optional
        Without it the elements are repeated in row-major order.
    """
    a = lifted("repeat", a)
    if axis is None:
        a, axis = reshape(a, -1), 0
    if a.ndim == 0:
        a, axis = reshape(a, 1), axis_of_element("repeat", axis, ())
    axis = normalize_axis("repeat", axis, a.shape)
    counts = sizes_of("repeat", repeats.tolist() if hasattr(repeats, "tolist") else repeats)
    if any(n < 0 for n in counts) or (len(counts) not in (1, a.shape[axis])):
        raise ValueError(
            f"repeat: repeats (={repeats}) must be one non-negative integer, or one for each of "
            f"{a.shape[axis]} places along axis {axis}"
        )
    if len(counts) > 1:
        return take(a, [i for i, n in enumerate(counts) for _ in range(n)], axis)
    before, n, after = a.shape[:axis], a.shape[axis], a.shape[axis + 1 :]
    spread = BroadcastTo((*before, n, counts[0], *after))(unsqueeze(a, axis + 1))
    return Reshape((*before, n * counts[0], *after))(spread)


def tile(a: Tensor, reps: Any) -> Tensor:
    """The whole tensor repeated `reps[i]` times along axis i; missing ones stand for 1."""
    a = lifted("tile", a)
    counts = sizes_of("tile", reps)
    if any(n < 0 for n in counts):
        raise ValueError(f"tile: reps (={reps}) must be non-negative")
    ndim = max(a.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - a.ndim) + a.shape
    # (n0, n1) -> (1, n0, 1, n1) -> (r0, n0, r1, n1) -> (r0 n0, r1 n1)
    apart = Reshape(tuple(k for n in shape for k in (1, n)))(a)
    spread = BroadcastTo(tuple(k for both in zip(counts, shape, strict=True) for k in both))(apart)
    return Reshape(tuple(r * n for r, n in zip(counts, shape, strict=True)))(spread)


# ----- Triangles and diagonals -----


class Tril(Member):
    member = "tril"
    uses = ("",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return type(self)(*self.settings)(out_grad)


class Triu(Tril):
    member = "triu"


def _triangle(cls: type[Tril], a: Any, k: int) -> Tensor:
    op = cls.member
    a = lifted(op, a)
    if a.ndim < 2:
        raise ValueError(f"{op}: a tensor of shape {a.shape} has no matrices; it needs two axes")
    return cls(whole(op, "k", k))(a)


def tril(a: Tensor, k: int = 0) -> Tensor:
    """The last two axes on and below the k-th diagonal, zeros above it."""
    return _triangle(Tril, a, k)


def triu(a: Tensor, k: int = 0) -> Tensor:
    """The last two axes on and above the k-th diagonal, zeros below it."""
    return _triangle(Triu, a, k)


def diagonal(a: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonals of the planes of two axes as a last axis; a copy."""
    a, offset = lifted("diagonal", a), whole("diagonal", "offset", offset)
    i, j = (normalize_axis("diagonal", axis, a.shape) for axis in (axis1, axis2))
    if i == j:
        raise ValueError(f"diagonal: axis1 (={axis1}) and axis2 (={axis2}) are the same")
    planes = permute(a, (*(k for k in range(a.ndim) if k not in (i, j)), i, j))
    down, right = max(-offset, 0), max(offset, 0)
    length = max(min(a.shape[i] - down, a.shape[j] - right), 0)
    xp = a._device.backend
    rows, columns = (xp.arange(k, k + length, 1, INT64) for k in (down, right))
    return GetItem((..., rows, columns), False)(planes)


# ----- Dilation -----


class Dilate(Function):
    uses = ("",)

    def __init__(self, axes: Axes, dilation: int = 1) -> None:
        self.axes = axes
        self.dilation = dilation

    def forward(self, a: NDArray) -> NDArray:
        index = _strided("dilate", self.axes, self.dilation, a.shape)
        grown = [
            n if part.step is None or n == 0 else (n - 1) * part.step + 1
            for n, part in zip(a.shape, index, strict=True)
        ]
        return self.xp.setitem(self.xp.zeros(tuple(grown), a.dtype), index, a)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return Undilate(self.axes, self.dilation)(out_grad)


class Undilate(Function):
    uses = ("",)

    def __init__(self, axes: Axes, dilation: int = 1) -> None:
        self.axes = axes
        self.dilation = dilation

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.getitem(a, _strided("undilate", self.axes, self.dilation, a.shape))

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        # Dilating gives less than there was where the last step had left elements over.
        shape = node._inputs[0].shape
        index = _strided("undilate", self.axes, self.dilation, shape)
        return PutItem(index, False, shape)(out_grad)


def dilate(a: Tensor, axes: Axes, dilation: int = 1) -> Tensor:
    """`dilation` zeros between neighbours along some axes, which `undilate` takes out again."""
    return Dilate(axes, dilation)(lifted("dilate", a))


def undilate(a: Tensor, axes: Axes, dilation: int = 1) -> Tensor:
    """Every (dilation + 1)-th element along some axes, a view."""
    return Undilate(axes, dilation)(lifted("undilate", a))


def _strided(op: str, axes: Axes, dilation: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    if whole(op, "dilation", dilation) < 0:
        raise ValueError(f"{op}: dilation (={dilation}) must not be negative")
    spread = normalize_axes(op, axes, shape)
    return tuple(
        [slice(None, None, dilation + 1 if i in spread else None) for i in range(len(shape))]
    )
