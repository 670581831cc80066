"""Scatter: the adjoints of the indexing members. Repeated places accumulate."""

from __future__ import annotations

import math

from babygrad.backends.aliases import Array, Index, Shape
from babygrad.backends.required import Required


class Scatter(Required):
    """Each returns a new array of ``shape`` and of src's dtype, zero where nothing is added."""

    def index_add(self, shape: Shape, index: Index, src: Array) -> Array:
        """zeros(shape) with ``src`` added at [index]: the adjoint of getitem.

        ``src`` has the shape of ``zeros(shape)[index]``. An index out of range raises IndexError.
        """
        size = math.prod(shape)
        places = self.getitem(self.reshape(self.arange(0, size, 1, "int64"), shape), index)
        total = self.zeros((size,), src.dtype)
        for i, place in enumerate(self.reshape(places, (places.size,))):
            value = self.getitem(self.reshape(src, (places.size,)), i)
            self.setitem(total, place, self.add(self.getitem(total, place), value))
        return self.reshape(total, shape)

    def scatter_add(self, shape: Shape, indices: Array, src: Array, axis: int) -> Array:
        """zeros(shape) with ``src`` added at ``indices`` along ``axis``: the adjoint of take.

        ``src`` has the shape of ``take(x, indices, axis)`` for an x of ``shape``.
        """
        return self.index_add(shape, (slice(None),) * (axis % len(shape)) + (indices,), src)

    def scatter_along_axis(self, shape: Shape, indices: Array, src: Array, axis: int) -> Array:
        """zeros(shape) with ``src`` added along ``axis``: the adjoint of take_along_axis."""
        axis %= len(shape)
        index: list[Array] = []
        for i, length in enumerate(shape):
            along = tuple(length if j == i else 1 for j in range(len(shape)))
            index.append(self.reshape(self.arange(0, length, 1, "int64"), along))
        index[axis] = indices
        return self.index_add(shape, tuple(index), src)
