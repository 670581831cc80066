"""Brings arrays into the few layouts that the kernels are compiled for: aligned, C-contiguous.

An array whose axes are merely permuted is dense too; it is seen through the permutation that
makes it C-contiguous, so that it is not copied and the result keeps its order (numpy's K order).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from babygrad.backends.aliases import Array, Axis, Shape
from babygrad.backends.numba.runtime import Kernel

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def covers(first: Array, *others: Array | None) -> bool:
    """Whether the kernels take these arrays: non-empty float32 or float64, all of one dtype.

    Everything else goes to the definition in numpy, which also raises the errors.
    """
    return (
        type(first) is np.ndarray
        and first.dtype in FLOATS
        and first.size > 0
        and all(a is None or (type(a) is np.ndarray and a.dtype == first.dtype) for a in others)
    )


def covers_alike(first: Array, *others: Array) -> bool:
    """As `covers`, and all have one shape."""
    return covers(first, *others) and all(a.shape == first.shape for a in others)


def contiguous(x: Array) -> Array:
    """``x`` if it is C-contiguous, aligned and writable, else a copy that is.

    Read-only arrays are a type of their own to Numba: each kernel would compile once more.
    """
    return x if x.flags.carray else np.array(x, order="C")


def memory_order(x: Array) -> Shape:
    """The permutation of axes that makes a dense array C-contiguous."""
    return tuple(sorted(range(x.ndim), key=lambda axis: -x.strides[axis]))


def elementwise(kernel: Kernel, *operands: Any) -> Array:
    """kernel(work, vectors and scalars in the order given, result vector).

    Arrays among the operands have one shape; the result has the layout of the first.
    """
    y: Array = np.empty_like(operands[0])
    order = tuple(range(y.ndim)) if y.flags.c_contiguous else memory_order(y)
    kernel(y.size, *(_vector(a, order) for a in operands), _vector(y, order))
    return y


def _vector(x: Any, order: Shape) -> Any:
    """An array's elements in the given order of axes; anything else as it is."""
    return contiguous(x.transpose(order)).reshape(-1) if isinstance(x, np.ndarray) else x


class Rows:
    """An array seen as a matrix (R, C) whose rows run along ``axis``."""

    def __init__(self, x: Array, axis: Axis) -> None:
        every = tuple(range(x.ndim))
        axes = every if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
        kept = tuple(i for i in every if i not in axes)
        self._order = kept + axes
        self._moved_shape = tuple(x.shape[i] for i in self._order)
        self.kept_shape = self._moved_shape[: len(kept)]
        self.keepdims_shape = tuple(1 if i in axes else x.shape[i] for i in every)
        self.shape = (math.prod(self.kept_shape), math.prod(self._moved_shape[len(kept) :]))

    def matrix(self, x: Array) -> Array:
        return contiguous(x.transpose(self._order)).reshape(self.shape)

    def restore(self, matrix: Array) -> Array:
        """The matrix under the array's own shape."""
        inverse = tuple(np.argsort(self._order))
        return matrix.reshape(self._moved_shape).transpose(inverse)


def blocks(rows: int) -> int:
    """Into how many partial sums the rows are split: a function of the size alone."""
    return min(rows, 64)
