"""Reductions beside the required ones."""

from __future__ import annotations

import math

from babygrad.backends.aliases import Array, Axis
from babygrad.backends.composed.ranges import scale_of
from babygrad.backends.required import Required

_WORD = 1 << 32


class Reductions(Required):
    """``axis`` is an int, a tuple, or None for all axes."""

    def integer_mean(self, x: Array, axis: Axis, keepdims: bool) -> Array:
        """The mean of integers or bools in float32, rounded from the exact one; NaN of nothing."""
        if x.dtype.itemsize < 8:
            total = self.astype(self.sum(x, axis, keepdims), "float64")
            return self.astype(self.divide(total, _count(x, total)), "float32")
        high, low, rest = self._mean_in_words(x, axis, keepdims)
        whole = self.add(self.multiply(self.astype(high, "float64"), _WORD), low)
        return self.astype(self.add(whole, rest), "float32")

    def var(self, x: Array, axis: Axis, keepdims: bool, correction: float) -> Array:
        """sum((x - mean)^2) / (n - correction), NaN where n <= correction.

        Two passes in float64, for in float32 the mean of 1e8 and 1e8 + 8 is one of them. The
        result has the dtype of x, float32 for integers and bools.
        """
        if x.dtype.kind != "f" and x.dtype.itemsize == 8:
            deviations = self._integer_deviations(x, axis)
        else:
            wide = self.astype(x, "float64")
            total = self.sum(wide, axis, True)
            deviations = self.subtract(wide, self.divide(total, _count(x, total)))
        squares = self.sum(self.square(deviations), axis, keepdims)
        count = _count(x, squares)
        degrees = count - correction if count > correction else math.nan
        wanted = x.dtype if x.dtype.kind == "f" else "float32"
        return self.astype(self.divide(squares, degrees), wanted)

    def _integer_deviations(self, x: Array, axis: Axis) -> Array:
        """x - mean of 64-bit integers in float64, where x itself would lose its last digits."""
        high, low, rest = self._mean_in_words(x, axis, True)
        x_high, x_low = self._words(x)
        words = self.multiply(self.astype(self.subtract(x_high, high), "float64"), _WORD)
        whole = self.add(words, self.astype(self.subtract(x_low, low), "float64"))
        return self.subtract(whole, rest)

    def _mean_in_words(self, x: Array, axis: Axis, keepdims: bool) -> tuple[Array, Array, Array]:
        """The mean of 64-bit integers as high * 2**32 + low + rest, exact but for the rest.

        Their own sum may leave 64 bits. Those of their halves, of up to 2**30 elements, do not:
        high and low are int64, the rest is a fraction in float64.
        """
        high, low = (self.sum(word, axis, keepdims) for word in self._words(x))
        count = _count(x, high)
        carried = self.remainder(high, count)
        low = self.add(self.multiply(carried, _WORD), low)
        rest = self.divide(self.astype(self.remainder(low, count), "float64"), count)
        return self.floor_divide(high, count), self.floor_divide(low, count), rest

    def _words(self, x: Array) -> tuple[Array, Array]:
        """int64 arrays with x = high * 2**32 + low, 0 <= low < 2**32."""
        high = self.floor_divide(x, _WORD)
        low = self.subtract(x, self.multiply(high, _WORD))
        return self.astype(high, "int64"), self.astype(low, "int64")

    def std(self, x: Array, axis: Axis, keepdims: bool, correction: float) -> Array:
        """The root of var, finite also where the variance is not."""
        var = self.var(x, axis, True, correction)
        root = self.sqrt(var)
        # The squares of integers stay in range.
        if x.dtype.kind == "f" and scale_of(self, var) is not None:
            wide, count = self.astype(x, "float64"), _count(x, var)
            mean = self.sum(self.divide(wide, max(count, 1)), axis, True)
            length = self.norm(self.subtract(wide, mean), axis, True)
            degrees = count - correction if count > correction else math.nan
            root = self.astype(self.divide(length, math.sqrt(degrees)), x.dtype)
        return root if keepdims else self._without(root, x, axis)

    def norm(self, x: Array, axis: Axis, keepdims: bool) -> Array:
        """sqrt(sum(x^2)) along ``axis``, right also where a square overflows or vanishes."""
        squares = self.sum(self.square(x), axis, True)
        root = self.sqrt(squares)
        scale = scale_of(self, squares)
        if scale is not None:
            squares = self.sum(self.square(self.multiply(x, scale)), axis, True)
            root = self.divide(self.sqrt(squares), scale)
        return root if keepdims else self._without(root, x, axis)

    def _without(self, y: Array, x: Array, axis: Axis) -> Array:
        """A result without the reduced axes of x, which it has with size 1."""
        reduced = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        gone = {i % x.ndim for i in reduced}
        if not gone:
            return y
        return self.reshape(y, tuple(n for i, n in enumerate(x.shape) if i not in gone))


def _count(x: Array, reduced: Array) -> int:
    """How many elements of ``x`` there are for each of the result."""
    return x.size // max(reduced.size, 1)
