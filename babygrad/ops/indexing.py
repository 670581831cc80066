"""Indexing: values picked from a tensor.

`a[index]` takes what numpy takes: integers, slices, ..., None, lists, tuples, ranges, arrays and
tensors of integers or bools, mixed as one likes. `take gather scatter_add one_hot` are the forms
with a name; `a[index] = value` is in `inplace`. An index out of range raises IndexError, on every
device, before anything is read. Only integers, slices, ... and None give a view.
"""

from __future__ import annotations

from types import EllipsisType
from typing import Any

from babygrad.autograd import Function, NDArray, PartialGradient, is_grad_enabled
from babygrad.ops._axes import axis_of_element, normalize_axis
from babygrad.ops._common import Member, lifted, promoted, sizes_of
from babygrad.ops._index import integer_array, plain_index
from babygrad.ops.shape import reshape
from babygrad.tensor import Tensor

__all__ = ["gather", "getitem", "one_hot", "scatter_add", "take"]

# ----- a[index] -----


class GetItem(Function):
    """a[index]; `repeats` says that the index may name a place twice, as arrays of integers do."""

    uses = ("",)

    def __init__(self, index: tuple[Any, ...], repeats: bool) -> None:
        self.index = index
        self.repeats = repeats

    def forward(self, a: NDArray) -> NDArray:
        axis = _taken_axis(self.index) if self.repeats else None
        if axis is not None:
            return self.xp.take(a, self.index[axis], axis)
        return self.xp.getitem(a, self.index)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor | PartialGradient:
        (a,) = node._inputs
        is_region = not any(isinstance(part, NDArray) for part in self.index)
        if is_region and not is_grad_enabled() and a.dtype is out_grad.dtype:
            return PartialGradient(out_grad, self.index, a.shape)
        return PutItem(self.index, self.repeats, a.shape)(out_grad)


class PutItem(Function):
    """Zeros of a shape with the input added at an index: what undoes `GetItem`, and the reverse."""

    uses = ("",)

    def __init__(self, index: tuple[Any, ...], repeats: bool, shape: tuple[int, ...]) -> None:
        self.index = index
        self.repeats = repeats
        self.to = shape

    def forward(self, a: NDArray) -> NDArray:
        if not self.repeats:
            return self.xp.setitem(self.xp.zeros(self.to, a.dtype), self.index, a)
        axis = _taken_axis(self.index)
        if axis is not None:
            return self.xp.scatter_add(self.to, self.index[axis], a, axis)
        return self.xp.index_add(self.to, self.index, a)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return GetItem(self.index, self.repeats)(out_grad)


def _taken_axis(index: tuple[Any, ...]) -> int | None:
    """The axis of an index such as a[:, :, ids], for which there are faster kernels."""
    for part in index[:-1]:
        if part.__class__ is not slice or part != slice(None):
            return None
    last = index[-1]
    return len(index) - 1 if isinstance(last, NDArray) and last.dtype.kind != "b" else None


def getitem(a: Any, index: Any) -> Tensor:
    """`a[index]`, with numpy's rules.

    Parameters
    ----------
    a : Tensor
    index : int, slice, ..., None, list, range, array or Tensor, or a tuple of these
        A tuple within the tuple is an array of indices, as a list is: `a[(0, 1), (2, 3)]` has the
        elements (0, 2) and (1, 3). An element that is picked twice gets both gradients.

    Returns
    -------
    Tensor
        A view for integers and slices; a copy when an array takes part.

    Raises
    ------
    IndexError
        When an index is out of range, a mask does not fit, or something else is no index.

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> x[[0, 0, 1]].sum().backward()
    >>> x.grad
    array([2., 1., 0.], dtype=float32)
    """
    a = lifted("getitem", a)
    return GetItem(*plain_index("getitem", a, index))(a)


# ----- Along one axis -----


def take(a: Any, indices: Any = None, axis: int | None = None, *, index: Any = None) -> Tensor:
    """The slices of `a` at `indices` along an axis, as `a[:, indices]` for axis 1.

    Parameters
    ----------
    a : Tensor
    indices, index : Tensor, array, list or int
        Integers of any shape, which takes the place of the axis in the result; under either name.
    axis : int, optional
        Without it, the indices count in row-major order, as in numpy.
    """
    indices = _either_index("take", indices, index)
    a = lifted("take", a)
    if axis is None or a.ndim == 0:
        a, axis = reshape(a, -1), 0 if axis is None else axis_of_element("take", axis, a.shape)
    axis = normalize_axis("take", axis, a.shape)
    places = integer_array("take", indices, axis, a.shape, a)
    return GetItem((slice(None),) * axis + (places,), True)(a)


def _either_index(op: str, first: Any, second: Any) -> Any:
    """The indices under the name that they were given by, `index` or `indices`."""
    if (first is None) == (second is None):
        given = "neither" if first is None else "both"
        raise TypeError(f"{op}: give index or indices, two names for one argument, not {given}")
    return second if first is None else first


class Gather(Member):
    member = "take_along_axis"
    uses = ("",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        indices, axis = self.settings
        return Scatter(indices, axis, node._inputs[0].shape)(out_grad)


class Scatter(Function):
    """Zeros of a shape with the input added where `Gather` reads."""

    uses = ("",)

    def __init__(self, indices: NDArray, axis: int, shape: tuple[int, ...]) -> None:
        self.indices = indices
        self.axis = axis
        self.to = shape

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.scatter_along_axis(self.to, self.indices, a, self.axis)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return Gather(self.indices, self.axis)(out_grad)


def gather(a: Any, axis: int, index: Any = None, *, indices: Any = None) -> Tensor:
    """One element of `a` for each of `index`: out[i, j] = a[index[i, j], j] for axis 0.

    Parameters
    ----------
    a : Tensor
    axis : int
    index, indices : Tensor or array
        Integers with as many axes as `a`, none larger than that of `a` but the one named; under
        either name.
    """
    a = lifted("gather", a)
    axis, places, window = _along("gather", a, axis, _either_index("gather", index, indices))
    return Gather(places, axis)(a if window is None else GetItem(window, False)(a))


def scatter_add(
    a: Any, axis: int, index: Any = None, source: Any = None, *, indices: Any = None
) -> Tensor:
    """A copy of `a` with `source` added where `gather` reads: a[index[i, j], j] += source[i, j].

    Parameters
    ----------
    a : Tensor
    axis, index, indices
        As for `gather`; repeated indices accumulate.
    source : Tensor
        With no axis smaller than that of `index`; what lies beyond is left out.
    """
    index = _either_index("scatter_add", index, indices)
    if source is None:
        raise TypeError("scatter_add: source is missing, the values that are to be added")
    target, source = promoted("scatter_add", a, source)
    axis, places, window = _along("scatter_add", target, axis, index)
    if source.ndim != target.ndim or any(
        n < m for n, m in zip(source.shape, places.shape, strict=True)
    ):
        raise ValueError(
            f"scatter_add: source has shape {source.shape}; it must cover the index, "
            f"of shape {places.shape}"
        )
    if source.shape != places.shape:
        source = GetItem(tuple(slice(n) for n in places.shape), False)(source)
    size = tuple(target.shape[i] if i == axis else n for i, n in enumerate(places.shape))
    added = Scatter(places, axis, size)(source)
    return target + (added if window is None else PutItem(window, False, target.shape)(added))


def _along(
    op: str, a: Tensor, axis: int, index: Any
) -> tuple[int, NDArray, tuple[slice | EllipsisType, ...] | None]:
    """The axis and the indices, checked, and the corner of `a` that they reach unless it is all."""
    axis = normalize_axis(op, axis, a.shape)
    indices = integer_array(op, index, axis, a.shape, a)
    if indices.ndim != a.ndim or any(
        n > m and i != axis for i, (n, m) in enumerate(zip(indices.shape, a.shape, strict=True))
    ):
        raise ValueError(
            f"{op}: index has shape {indices.shape}; it must have the {a.ndim} axes of the "
            f"tensor's shape {a.shape}, none larger but axis {axis}"
        )
    sizes = sizes_of(op, [a.shape[i] if i == axis else n for i, n in enumerate(indices.shape)])
    return axis, indices, None if sizes == a.shape else tuple(slice(n) for n in sizes)


def one_hot(indices: Any, num_classes: int, dtype: Any = "float32") -> Tensor:
    """A row of `num_classes` zeros for each index, with a one at the index; has no gradient.

    See `Tensor.one_hot`, the book's form of it.
    """
    return Tensor.one_hot(indices, num_classes, dtype=dtype, requires_grad=False)
