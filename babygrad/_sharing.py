"""Tensors that share memory: who they are, and how they move to other memory together.

A tensor and its views have one version, a list: the tick of the last write, then weak references
to the tensors themselves, the one that was there first and its views in the order in which they
were made. A tensor without views has no references.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from babygrad import _state

if TYPE_CHECKING:
    from babygrad.tensor import Tensor

NDArray = np.ndarray

Version = list[Any]

_FEW = 16


def share(source: Tensor, view: Tensor) -> None:
    """Note that a new tensor is a view of the memory of another one."""
    version = source._version
    if len(version) == 1:
        version.append(weakref.ref(source))
    version.append(weakref.ref(view))
    count = len(version)
    if count > _FEW and count & (count - 1) == 0:
        forget_dead(version)


def forget_dead(version: Version) -> None:
    """Drop the references to views that are gone; the first stays, for it tells views apart.

    A tensor may have any number of views in its life, as data that batches are cut from: at each
    power of two the list is gone through.
    """
    version[2:] = [reference for reference in version[2:] if reference() is not None]


def sharers(tensor: Tensor) -> list[Tensor]:
    """The living tensors that have the memory of this one, without itself."""
    version = tensor._version
    found = (reference() for reference in version[1:])
    # A tensor whose array was replaced has another version and stands here no longer by right.
    return [t for t in found if t is not None and t is not tensor and t._version is version]


def is_view(tensor: Tensor) -> bool:
    """Whether a tensor was made as a view of another one, which may be gone."""
    version = tensor._version
    return len(version) > 1 and version[1]() is not tensor


def overlap(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """The places at which two arrays have the same memory, those in `a` and those in `b`.

    Places are counted in row-major order. `b` has no element twice, as what may be written to; `a`
    may be a broadcast view.
    """
    if not np.may_share_memory(a, b):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    wanted = _addresses(b)
    if (axes := _nested_axes(a)) is not None:
        there = _places(a, axes, wanted)
        here = np.flatnonzero(there >= 0)
        return there[here], here
    order = np.argsort(wanted)
    addresses = _addresses(a)
    nearest = order[np.searchsorted(wanted, addresses, sorter=order).clip(max=len(order) - 1)]
    there = np.flatnonzero(wanted[nearest] == addresses)
    return there, nearest[there]


def same_place(a: NDArray, b: NDArray) -> bool:
    """Whether two arrays are the same elements in the same order."""
    return (a.shape, a.strides, a.dtype, _start(a)) == (b.shape, b.strides, b.dtype, _start(b))


def _start(array: NDArray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _addresses(array: NDArray) -> NDArray:
    """Where each element begins in memory, in row-major order."""
    address = np.full(array.shape, _start(array), np.int64)
    for axis, (size, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
        address += (np.arange(size) * stride).reshape((-1,) + (1,) * (array.ndim - axis - 1))
    return address.reshape(-1)


def _nested_axes(array: NDArray) -> list[int] | None:
    """The axes from the longest stride to the shortest, when all of an axis fits in one step.

    It does in every slice and transposition of an array, and not in a broadcast view.
    """
    axes = sorted(
        (axis for axis in range(array.ndim) if array.shape[axis] > 1),
        key=lambda axis: -abs(array.strides[axis]),
    )
    length = array.itemsize
    for axis in reversed(axes):
        step = abs(array.strides[axis])
        if step < length:
            return None
        length += (array.shape[axis] - 1) * step
    return axes


def _places(array: NDArray, axes: list[int], addresses: NDArray) -> NDArray:
    """Which elements lie at the addresses, in row-major order; -1 where none does."""
    strides, shape = array.strides, array.shape
    backwards = sum((shape[axis] - 1) * strides[axis] for axis in axes if strides[axis] < 0)
    rest = addresses - (_start(array) + backwards)
    place, inside = np.zeros_like(rest), rest >= 0
    for axis in axes:
        step, rest = np.divmod(rest, abs(strides[axis]))
        inside &= step < shape[axis]
        step = shape[axis] - 1 - step if strides[axis] < 0 else step
        place += step * math.prod(shape[axis + 1 :])
    return np.where(inside & (rest == 0), place, -1)


def move_together(written: Tensor, values: NDArray) -> None:
    """Give a tensor and its sharers a copy of their memory, and write `values` into it there.

    The old memory stays as it is, for the gradients that read it. Strides stay, and so does the
    order in which the version lists the tensors.
    """
    tensors = [*sharers(written), written]
    bounds = [np.lib.array_utils.byte_bounds(t._data) for t in tensors if t.size]
    low, high = min(first for first, _ in bounds), max(last for _, last in bounds)
    memory = np.empty(high - low, np.uint8)
    version: Version = [_state.tick(), *written._version[1:]]
    for tensor in tensors:
        old = tensor._data
        start = _start(old) - low if old.size else 0
        tensor._data = np.ndarray(old.shape, old.dtype, memory, start, old.strides)
        tensor._data[...] = old
        tensor._data.flags.writeable = old.flags.writeable
        tensor._version = version
    written._data[...] = values
