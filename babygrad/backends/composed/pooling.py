"""Max and average pooling of (N, H, W, C) images, tap by tap as in ``convolution``.

A window that would start in the padding after the image is dropped (ceil_mode), and a padded
place never wins a maximum.
"""

from __future__ import annotations

import math

from babygrad.backends.aliases import Array, Padding, Pair, Shape
from babygrad.backends.composed.convolution import output_size, taps
from babygrad.backends.composed.scatter import Scatter


def pooled_size(
    size: int, kernel: int, stride: int, padding: Pair, dilation: int, ceil_mode: bool
) -> int:
    """Number of windows; ceil_mode admits one that runs over the end but starts before it."""
    if not ceil_mode:
        return output_size(size, kernel, stride, padding, dilation)
    count = output_size(size + stride - 1, kernel, stride, padding, dilation)
    starts_inside = (count - 1) * stride < size + padding[0]
    return count if starts_inside else count - 1


def _lowest(x: Array) -> float:
    """The largest of no elements."""
    if x.dtype.kind == "f":
        return -math.inf
    return -(1 << 8 * x.dtype.itemsize - 1) if x.dtype.kind == "i" else 0


class _Windows:
    """Where the windows lie: their number, and the padding that lets every tap be one slice."""

    def __init__(
        self,
        x_shape: Shape,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        ceil_mode: bool,
    ) -> None:
        height, width = (
            pooled_size(x_shape[i + 1], kernel[i], stride[i], padding[i], dilation[i], ceil_mode)
            for i in (0, 1)
        )
        self.out = (height, width)
        widths = []
        for i in (0, 1):
            reach = (self.out[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1
            before = padding[i][0]
            widths.append((before, max(padding[i][1], reach - before - x_shape[i + 1])))
        self.widths = ((0, 0), widths[0], widths[1], (0, 0))
        self.taps = list(taps(kernel, self.out, stride, dilation))


class Pooling(Scatter):
    """kernel, stride and dilation are (h, w); padding is ((top, bottom), (left, right))."""

    def max_pool2d(
        self,
        x: Array,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        ceil_mode: bool,
    ) -> tuple[Array, Array]:
        """The largest element of each window, and where it was.

        Returns
        -------
        y, index : (N, HO, WO, C)
            index (int64) is the winner's place h * W + w: the first maximum in row-major order
            within the window, or its first NaN; -1 where the window has no pixel of the image,
            which leaves -inf, or the lowest integer.
        """
        n, height, width, channels = x.shape
        windows = _Windows(x.shape, kernel, stride, padding, dilation, ceil_mode)
        places = self.reshape(self.arange(0, height * width, 1, "int64"), (1, height, width, 1))
        places = self.pad(places, windows.widths, -1)
        padded = self.pad(x, windows.widths, 0)
        y = self.full((n, *windows.out, channels), _lowest(x), x.dtype)
        index = self.full(y.shape, -1, "int64")
        for _, pixels in windows.taps:
            value, place = self.getitem(padded, pixels), self.getitem(places, pixels)
            nan_wins = self.logical_and(self.isnan(value), self.logical_not(self.isnan(y)))
            better = self.logical_or(self.greater(value, y), nan_wins)
            better = self.logical_or(better, self.less(index, 0))
            better = self.logical_and(better, self.greater_equal(place, 0))
            y = self.where(better, value, y)
            index = self.where(better, place, index)
        return y, index

    def max_pool2d_grad(self, gy: Array, index: Array, x_shape: Shape) -> Array:
        """gy (N, HO, WO, C) added up at the winners -> (N, H, W, C); an index of -1 has none."""
        n, height, width, channels = x_shape
        rows = (n, gy.shape[1] * gy.shape[2], channels)
        planes = (n, height * width, channels)
        src = self.reshape(self.where(self.less(index, 0), 0, gy), rows)
        places = self.reshape(self.maximum(index, 0), rows)
        return self.reshape(self.scatter_along_axis(planes, places, src, 1), x_shape)

    def avg_pool2d(
        self,
        x: Array,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        ceil_mode: bool,
        count_include_pad: bool,
    ) -> Array:
        """The mean of each window -> (N, HO, WO, C).

        Padding counts as zeros with ``count_include_pad``, else only the image counts. What
        ceil_mode adds beyond the padding never counts.
        """
        windows = _Windows(x.shape, kernel, stride, padding, (1, 1), ceil_mode)
        padded = self.pad(x, windows.widths, 0)
        total = self.zeros((x.shape[0], *windows.out, x.shape[3]), x.dtype)
        for _, pixels in windows.taps:
            total = self.add(total, self.getitem(padded, pixels))
        counts = self._counts(x.shape, windows.out, kernel, stride, padding, count_include_pad)
        return self.divide(total, self.astype(counts, x.dtype))

    def avg_pool2d_grad(
        self,
        gy: Array,
        x_shape: Shape,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        ceil_mode: bool,
        count_include_pad: bool,
    ) -> Array:
        """The adjoint of avg_pool2d: gy / count spread over each window -> (N, H, W, C)."""
        n, height, width, channels = x_shape
        windows = _Windows(x_shape, kernel, stride, padding, (1, 1), ceil_mode)
        counts = self._counts(x_shape, windows.out, kernel, stride, padding, count_include_pad)
        share = self.divide(gy, self.astype(counts, gy.dtype))
        (top, bottom), (left, right) = windows.widths[1:3]
        gx = self.zeros((n, height + top + bottom, width + left + right, channels), gy.dtype)
        for _, pixels in windows.taps:
            self.setitem(gx, pixels, self.add(self.getitem(gx, pixels), share))
        inside = (slice(None), slice(top, top + height), slice(left, left + width))
        return self.ascontiguousarray(self.getitem(gx, inside))

    def _counts(
        self,
        x_shape: Shape,
        out: Pair,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        count_include_pad: bool,
    ) -> Array:
        """How many elements each window averages over: (HO, WO, 1), int64."""
        sides = []
        for i in (0, 1):
            size, (before, after) = x_shape[i + 1], padding[i]
            low, high = (-before, size + after) if count_include_pad else (0, size)
            start = self.arange(-before, out[i] * stride[i] - before, stride[i], "int64")
            end = self.clip(self.add(start, kernel[i]), low, high)
            sides.append(self.subtract(end, self.clip(start, low, high)))
        rows, columns = sides
        return self.multiply(self.reshape(rows, (out[0], 1, 1)), self.reshape(columns, (out[1], 1)))
