"""Indices made plain: checked, in numpy's terms, and with arrays in place of lists and tensors."""

from __future__ import annotations

from typing import Any

from babygrad._numbers import as_numbers
from babygrad.autograd import NDArray
from babygrad.dtypes import INT64, UINT64
from babygrad.ops._common import weak, whole
from babygrad.tensor import Tensor


def plain_index(op: str, a: Tensor, index: Any) -> tuple[tuple[Any, ...], bool]:
    """An index of ints, slices, ..., None and arrays, checked; and whether it may repeat a place.

    Raises
    ------
    IndexError
        When it is out of range, of the wrong type, or has more axes than the tensor.
    """
    given = index if isinstance(index, tuple) else (index,)
    parts = tuple([_plain_part(op, part, a) for part in given])
    shape = a._data.shape
    spans = [_span(part) for part in parts]
    if sum(spans) > len(shape):
        raise IndexError(f"{op}: {sum(spans)} indices for a tensor of shape {shape}")
    ellipses = sum(part is ... for part in parts)
    if ellipses > 1:
        raise IndexError(f"{op}: an index may have only one ellipsis (...)")
    axis = 0
    basic, repeats = True, False
    for part, span in zip(parts, spans, strict=True):
        if part is ...:
            axis += len(shape) - sum(spans)
        elif part.__class__ is int:
            _check_range(op, part, part, axis, shape)
        elif isinstance(part, NDArray):
            basic = False
            if part.dtype.kind != "b":
                repeats = True
                check_indices(op, part, axis, shape, a)
            elif part.shape != shape[axis : axis + span]:
                raise IndexError(
                    f"{op}: a mask of shape {part.shape} does not fit axis {axis} "
                    f"of a tensor of shape {shape}"
                )
        axis += span
    # With an ellipsis numpy gives a view of a single element too, not a copy.
    return ((*parts, ...) if basic and not ellipses else parts), repeats


def _plain_part(op: str, part: Any, beside: Tensor) -> Any:
    if part is None or part is ... or isinstance(part, slice) or part.__class__ is int:
        return part
    if isinstance(part, list | tuple | range | Tensor | NDArray):
        array = index_array(op, part, beside)
        return int(array) if array.ndim == 0 and array.dtype.kind != "b" else array
    if isinstance(part, bool):
        return beside._device.backend.full((), part, "bool")
    if hasattr(part, "__index__"):
        return int(part.__index__())
    raise IndexError(
        f"{op}: an index must consist of integers, slices, ..., None and arrays of integers or "
        f"bools, not {type(part).__name__}"
    )


def index_array(op: str, index: Any, beside: Tensor) -> NDArray:
    """An int64 or bool array from a list, tuple, range, array or tensor of indices."""
    xp = beside._device.backend
    if isinstance(index, range):
        return xp.arange(index.start, index.stop, index.step, INT64)
    if isinstance(index, list | tuple):
        kinds = _element_kinds(index)
        if kinds - {"bool", "int"} or len(kinds) > 1:
            raise IndexError(
                f"{op}: an index must be of integers or of bools, not of {' and '.join(kinds)}"
            )
        return Tensor(index, dtype="bool" if kinds == {"bool"} else INT64)._data
    array: NDArray = index._data if isinstance(index, Tensor) else index
    if array.dtype.kind not in "biu":
        raise IndexError(f"{op}: an index must be of integers or of bools, not of {array.dtype}")
    if isinstance(index, NDArray):
        array = as_numbers(op, index)
    if array.dtype is UINT64:
        # What int64 does not have is out of range and must not come round to a negative index.
        array = xp.minimum(array, (1 << 63) - 1)
    if array.dtype.kind == "b" or array.dtype is INT64:
        return array
    return xp.astype(array, INT64)


def _element_kinds(values: Any) -> set[str]:
    kinds: set[str] = set()
    for value in values:
        if isinstance(value, list | tuple | range):
            kinds |= _element_kinds(value)
        elif type(value).__name__.startswith("bool"):
            kinds.add("bool")
        else:
            kinds.add("int" if hasattr(value, "__index__") else type(value).__name__)
    return kinds


def _span(part: Any) -> int:
    """How many axes of the tensor a part of an index takes up."""
    if part is None or part is ...:
        return 0
    return part.ndim if isinstance(part, NDArray) and part.dtype.kind == "b" else 1


def check_indices(
    op: str, indices: NDArray, axis: int, shape: tuple[int, ...], beside: Tensor
) -> None:
    """Raise IndexError unless all of an integer array lies in the range of an axis."""
    if indices.size:
        xp = beside._device.backend
        _check_range(op, xp.min(indices), xp.max(indices), axis, shape)


def _check_range(op: str, lowest: Any, highest: Any, axis: int, shape: tuple[int, ...]) -> None:
    size = shape[axis]
    if lowest < -size or highest >= size:
        wrong = highest if highest >= size else lowest
        raise IndexError(
            f"{op}: index {wrong} is out of range for axis {axis} with size {size}, "
            f"in a tensor of shape {shape}"
        )


def integer_array(
    op: str, indices: Any, axis: int, shape: tuple[int, ...], beside: Tensor
) -> NDArray:
    """Indices along an axis as int64, checked."""
    if isinstance(weak(indices), int):
        array = beside._device.backend.full((), whole(op, "index", indices), INT64)
    else:
        array = index_array(op, indices, beside)
    if array.dtype.kind == "b":
        raise IndexError(f"{op}: an index must be of integers, not of bools")
    check_indices(op, array, axis, shape, beside)
    return array
