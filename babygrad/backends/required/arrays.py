"""The required members that create, reduce, rearrange, index, multiply and convert arrays.

Shapes, views and errors are numpy's: a member that numpy answers with a view may answer with one.
An index out of range raises IndexError, shapes that do not fit raise ValueError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from babygrad.backends.aliases import (
    Array,
    Arrays,
    Axis,
    DType,
    Index,
    Operand,
    Pair,
    Scalar,
    Shape,
)


class RequiredArrays(ABC):
    """Everything that is not elementwise."""

    # ----- Creation -----

    @abstractmethod
    def zeros(self, shape: Shape, dtype: DType) -> Array:
        """A new array of zeros."""

    @abstractmethod
    def ones(self, shape: Shape, dtype: DType) -> Array:
        """A new array of ones."""

    @abstractmethod
    def full(self, shape: Shape, value: Scalar, dtype: DType) -> Array:
        """A new array with ``value`` in every place."""

    @abstractmethod
    def empty(self, shape: Shape, dtype: DType) -> Array:
        """A new array whose values are not set."""

    @abstractmethod
    def arange(self, start: Scalar, stop: Scalar, step: Scalar, dtype: DType) -> Array:
        """start, start + step, ... up to but without stop; 1-d."""

    @abstractmethod
    def eye(self, n: int, m: int, k: int, dtype: DType) -> Array:
        """Shape (n, m): ones on the k-th diagonal, zeros elsewhere."""

    # ----- Reductions: axis None means all axes; keepdims leaves axes of length 1 -----

    @abstractmethod
    def sum(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        """Sum over ``axis``. Integers and bools add up in int64, uint64 in itself.

        float32 is added pairwise, in blocks or in float64 along every axis, so that the error
        does not grow with the length as that of one running float32 sum does.
        """

    @abstractmethod
    def prod(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        """Product over ``axis``; of integers and bools in int64, of uint64 in itself."""

    @abstractmethod
    def max(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        """Largest element; NaN when one is NaN. An empty axis raises ValueError."""

    @abstractmethod
    def min(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        """Smallest element; NaN when one is NaN. An empty axis raises ValueError."""

    @abstractmethod
    def any(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        """Whether an element is non-zero; bool."""

    @abstractmethod
    def all(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        """Whether every element is non-zero; bool."""

    @abstractmethod
    def argmax(self, x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        """Index of the first largest element (of the first NaN if any); int64.

        With ``axis`` None the index counts in row-major order. An empty axis raises ValueError.
        """

    @abstractmethod
    def argmin(self, x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        """Index of the first smallest element, otherwise as argmax."""

    @abstractmethod
    def cumulative_sum(self, x: Array, axis: int) -> Array:
        """Running sums along ``axis``, of x's shape, in the types of ``sum``."""

    # ----- Shape -----

    @abstractmethod
    def reshape(self, x: Array, shape: Shape) -> Array:
        """The elements in row-major order under a new shape, one axis of which may be -1."""

    @abstractmethod
    def permute_dims(self, x: Array, axes: Shape) -> Array:
        """Axis i of the result is axis ``axes[i]`` of ``x``."""

    @abstractmethod
    def broadcast_to(self, x: Array, shape: Shape) -> Array:
        """``x`` repeated along new leading axes and along axes of length 1; read-only."""

    @abstractmethod
    def expand_dims(self, x: Array, axis: Axis) -> Array:
        """A new axis of length 1 at each place in ``axis``."""

    @abstractmethod
    def squeeze(self, x: Array, axis: Axis) -> Array:
        """Without the axes in ``axis``, each of which must have length 1; None means all such."""

    @abstractmethod
    def concat(self, xs: Arrays, axis: int) -> Array:
        """The arrays one after the other along an axis that they have."""

    @abstractmethod
    def stack(self, xs: Arrays, axis: int) -> Array:
        """The arrays, all of one shape, one after the other along a new axis."""

    @abstractmethod
    def flip(self, x: Array, axis: Axis) -> Array:
        """In reverse order along ``axis``; None means every axis."""

    @abstractmethod
    def roll(self, x: Array, shift: int | Shape, axis: Axis) -> Array:
        """Each element ``shift`` places further, round the end; axis None rolls the flat array."""

    @abstractmethod
    def tile(self, x: Array, reps: Shape) -> Array:
        """The whole array ``reps[i]`` times along axis i."""

    @abstractmethod
    def repeat(self, x: Array, n: int | Array, axis: int | None) -> Array:
        """Each element ``n`` times along ``axis``; None flattens first."""

    @abstractmethod
    def pad(self, x: Array, widths: tuple[Pair, ...], value: Scalar) -> Array:
        """``widths[i]`` = (before, after) places of ``value`` added at the ends of axis i."""

    @abstractmethod
    def diagonal(self, x: Array, offset: int, axis1: int, axis2: int) -> Array:
        """The diagonals of the planes (axis1, axis2), as a last axis."""

    @abstractmethod
    def tril(self, x: Array, k: int) -> Array:
        """Of the last two axes, what lies on or below diagonal k; zeros elsewhere."""

    @abstractmethod
    def triu(self, x: Array, k: int) -> Array:
        """Of the last two axes, what lies on or above diagonal k; zeros elsewhere."""

    # ----- Indexing -----

    @abstractmethod
    def getitem(self, x: Array, index: Index) -> Array:
        """``x[index]`` with numpy's basic and advanced indexing; always an array."""

    @abstractmethod
    def setitem(self, x: Array, index: Index, value: Operand) -> Array:
        """Write ``value`` to ``x[index]`` in place; returns ``x``."""

    @abstractmethod
    def take(self, x: Array, indices: Array, axis: int) -> Array:
        """``x`` at the integer ``indices`` along ``axis``.

        Shape ``x.shape[:axis] + indices.shape + x.shape[axis + 1:]``; -n <= index < n.
        """

    @abstractmethod
    def take_along_axis(self, x: Array, indices: Array, axis: int) -> Array:
        """``x`` at an index of its own for every other position; as many axes as ``x``."""

    # ----- Linear algebra -----

    @abstractmethod
    def matmul(self, x: Array, y: Array) -> Array:
        """Matrix product over the last two axes, others broadcast; a 1-d operand is a vector."""

    # ----- Types and memory -----

    @abstractmethod
    def astype(self, x: Array, dtype: DType) -> Array:
        """A converted copy, also when the dtype is the same."""

    @abstractmethod
    def copy(self, x: Array) -> Array:
        """A writable copy in row-major order."""

    @abstractmethod
    def ascontiguousarray(self, x: Array) -> Array:
        """``x`` itself if it is in row-major order, else a copy that is."""
