"""Convolution and pooling of (N, H, W, C) images."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from babygrad.backends.aliases import Array, Padding, Pair, Shape
from babygrad.backends.composed.convolution import output_size
from babygrad.backends.composed.pooling import pooled_size
from babygrad.backends.numba.kernels import convolution as packing
from babygrad.backends.numba.kernels import pooling as kernels
from babygrad.backends.numba.layout import contiguous, covers
from babygrad.backends.numpy import NumpyBackend

# Bytes of packed pixels at a time: they are written, then read once by the product, and should
# not leave the last-level cache between.
WORKSPACE = 4 << 20


class NumbaConvolution(NumpyBackend):
    """Pixels packed into a matrix, some lines of the output at a time, and numpy's product.

    Grouped convolutions go to the definition.
    """

    def linear(self, x: Array, w: Array, b: Array | None, activation: str | None = None) -> Array:
        y: Array = self.matmul(x, w)
        if b is not None:
            if not covers(y, b) or b.shape != y.shape[-1:]:
                return super().linear(x, w, b, activation)
            y += b
        return y if activation is None else getattr(self, activation)(y)

    def conv2d(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
    ) -> Array:
        if not (covers(x, w, b) and groups == 1 and _same_channels(x.shape, w.shape)):
            return super().conv2d(x, w, b, stride, padding, dilation, groups)
        out = [
            output_size(x.shape[i + 1], w.shape[i], stride[i], padding[i], dilation[i])
            for i in (0, 1)
        ]
        y = np.empty((x.shape[0], *out, w.shape[3]), x.dtype)
        lines = _Lines(y.shape, w.shape, stride, padding, dilation, x.dtype)
        matrix = w.reshape(-1, w.shape[3])
        rows = y.reshape(-1, w.shape[3])
        image = contiguous(x)
        for first, columns, part in lines.chunks():
            lines.pack(image, first, columns)
            np.matmul(columns.reshape(-1, len(matrix)), matrix, out=rows[part])
        if b is not None:
            y += b
        return y

    def conv2d_input_grad(
        self,
        gy: Array,
        w: Array,
        x_shape: Shape,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
    ) -> Array:
        fits = _same_channels(x_shape, w.shape) and _same_batch(gy.shape, x_shape)
        if not (covers(gy, w) and groups == 1 and fits):
            return super().conv2d_input_grad(gy, w, x_shape, stride, padding, dilation, groups)
        gx = np.zeros(x_shape, gy.dtype)
        lines = _Lines(gy.shape, w.shape, stride, padding, dilation, gy.dtype)
        matrix = w.reshape(-1, w.shape[3])
        rows = contiguous(gy).reshape(-1, w.shape[3])
        for first, columns, part in lines.chunks():
            np.matmul(rows[part], matrix.T, out=columns.reshape(-1, len(matrix)))
            lines.unpack_add(columns, first, gx)
        return gx

    def conv2d_weight_grad(
        self,
        gy: Array,
        x: Array,
        w_shape: Shape,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
    ) -> Array:
        fits = _same_channels(x.shape, w_shape) and _same_batch(gy.shape, x.shape)
        if not (covers(gy, x) and groups == 1 and fits):
            return super().conv2d_weight_grad(gy, x, w_shape, stride, padding, dilation, groups)
        gw = np.zeros((math.prod(w_shape[:3]), w_shape[3]), gy.dtype)
        lines = _Lines(gy.shape, w_shape, stride, padding, dilation, gy.dtype)
        rows = contiguous(gy).reshape(-1, w_shape[3])
        image = contiguous(x)
        for first, columns, part in lines.chunks():
            lines.pack(image, first, columns)
            gw += np.matmul(columns.reshape(-1, len(gw)).T, rows[part])
        return gw.reshape(w_shape)


class _Lines:
    """The output lines of a convolution, cut into chunks whose packed pixels fit the workspace."""

    def __init__(
        self,
        y_shape: Shape,
        w_shape: Shape,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        dtype: np.dtype[np.generic],
    ) -> None:
        images, self._out_h, self._out_w, _ = y_shape
        self._count = images * self._out_h
        line = (self._out_w, *w_shape[:3])
        per_chunk = max(1, WORKSPACE // (math.prod(line) * dtype.itemsize))
        self._columns = np.empty((min(per_chunk, self._count), *line), dtype)
        before = (padding[0][0], padding[1][0])
        self._geometry = (self._out_h, self._out_w, tuple(stride), before, tuple(dilation))

    def chunks(self) -> Iterator[tuple[int, Array, slice]]:
        """First line, its workspace (L, WO, KH, KW, C), and the rows of the output matrix."""
        for first in range(0, self._count, max(1, len(self._columns))):
            last = min(first + len(self._columns), self._count)
            part = slice(first * self._out_w, last * self._out_w)
            yield first, self._columns[: last - first], part

    def pack(self, image: Array, first: int, columns: Array) -> None:
        packing.pack(columns.size, image, first, *self._geometry, columns)

    def unpack_add(self, columns: Array, first: int, gx: Array) -> None:
        packing.unpack_add(columns.size, columns, first, *self._geometry, gx)


def _same_channels(x_shape: Shape, w_shape: Shape) -> bool:
    return len(x_shape) == len(w_shape) == 4 and x_shape[3] == w_shape[2] and 0 not in w_shape


def _same_batch(gy_shape: Shape, x_shape: Shape) -> bool:
    return len(gy_shape) == len(x_shape) == 4 and gy_shape[0] == x_shape[0]


class NumbaPooling(NumpyBackend):
    """Windows read in place."""

    def max_pool2d(
        self,
        x: Array,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        ceil_mode: bool,
    ) -> tuple[Array, Array]:
        if not (covers(x) and x.ndim == 4):
            return super().max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
        out = [
            pooled_size(x.shape[i + 1], kernel[i], stride[i], padding[i], dilation[i], ceil_mode)
            for i in (0, 1)
        ]
        y = np.empty((x.shape[0], *out, x.shape[3]), x.dtype)
        index = np.empty(y.shape, np.int64)
        before = (padding[0][0], padding[1][0])
        kernels.max_pool2d(
            y.size * math.prod(kernel), contiguous(x), *kernel, tuple(stride), before,
            tuple(dilation), y, index,
        )  # fmt: skip
        return y, index

    def max_pool2d_grad(self, gy: Array, index: Array, x_shape: Shape) -> Array:
        fits = gy.ndim == 4 and index.shape == gy.shape and index.dtype == np.int64
        if not (covers(gy) and fits and gy.shape[::3] == x_shape[::3]):
            return super().max_pool2d_grad(gy, index, x_shape)
        n, height, width, channels = x_shape
        gx = np.zeros((n, height * width, channels), gy.dtype)
        rows = (n, -1, channels)
        valid = np.empty(n, np.bool_)
        gy, index = contiguous(gy).reshape(rows), contiguous(index).reshape(rows)
        kernels.max_pool2d_grad(gy.size, gy, index, gx, valid)
        if not valid.all():
            raise IndexError(f"max_pool2d_grad: an index is {height * width} or larger")
        return gx.reshape(x_shape)

    def avg_pool2d(
        self,
        x: Array,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        ceil_mode: bool,
        count_include_pad: bool,
    ) -> Array:
        if not (covers(x) and x.ndim == 4):
            return super().avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad)
        windows = _windows(x.shape, kernel, stride, padding, ceil_mode, count_include_pad)
        rows, columns, _ = windows
        y = np.empty((x.shape[0], len(rows), len(columns), x.shape[3]), x.dtype)
        kernels.avg_pool2d(y.size * math.prod(kernel), contiguous(x), *windows, y)
        return y

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
        windows = _windows(x_shape, kernel, stride, padding, ceil_mode, count_include_pad)
        fits = gy.shape == (x_shape[0], len(windows[0]), len(windows[1]), x_shape[3])
        if not (covers(gy) and fits):
            return super().avg_pool2d_grad(
                gy, x_shape, kernel, stride, padding, ceil_mode, count_include_pad
            )
        gx = np.zeros(x_shape, gy.dtype)
        kernels.avg_pool2d_grad(gy.size * math.prod(kernel), contiguous(gy), *windows, gx)
        return gx


def _windows(
    x_shape: Shape,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    ceil_mode: bool,
    count_include_pad: bool,
) -> tuple[Array, Array, Array]:
    """First and last + 1 of each window inside the image, by rows and by columns; the divisors."""
    spans, lengths = [], []
    for i in (0, 1):
        size, (before, after) = x_shape[i + 1], padding[i]
        count = pooled_size(size, kernel[i], stride[i], padding[i], 1, ceil_mode)
        start = np.arange(count) * stride[i] - before
        spans.append(np.stack([start, start + kernel[i]], 1).clip(0, size))
        low, high = (-before, size + after) if count_include_pad else (0, size)
        lengths.append((start + kernel[i]).clip(low, high) - start.clip(low, high))
    return spans[0], spans[1], np.multiply.outer(*lengths).astype(np.float64)
