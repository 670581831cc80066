"""Linear maps and convolution: one product per kernel tap.

The output pixel (i, j) sees the padded input at (i sh + kh dh, j sw + kw dw). So for a fixed tap
(kh, kw) the pixels seen by all outputs are one strided slice of the input, and a convolution is
the sum over taps of that slice times the tap's matrix (C, O):

    y = sum over (kh, kw) of slice(x, kh, kw) @ w[kh, kw]
"""

from __future__ import annotations

from collections.abc import Iterator

from babygrad.backends.aliases import Array, Index, Padding, Pair, Shape
from babygrad.backends.required import Required


def output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    """How many windows fit: floor((size + padding - span) / stride) + 1."""
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def taps(kernel: Pair, out: Pair, stride: Pair, dilation: Pair) -> Iterator[tuple[Pair, Index]]:
    """Each kernel position, with the index of the (N, H, W, C) pixels that it meets."""
    for kh in range(kernel[0]):
        for kw in range(kernel[1]):
            top, left = kh * dilation[0], kw * dilation[1]
            rows = slice(top, top + (out[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (out[1] - 1) * stride[1] + 1, stride[1])
            yield (kh, kw), (slice(None), rows, columns)


class Convolution(Required):
    """Images are (N, H, W, C), kernels (KH, KW, C // groups, O), as in the book."""

    def linear(self, x: Array, w: Array, b: Array | None, activation: str | None = None) -> Array:
        """x (..., I) @ w (I, O) + b (O,) or None -> (..., O), then "relu", "sigmoid" or "tanh"."""
        y = self.matmul(x, w)
        if b is not None:
            y = self.add(y, b)
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
        """Cross-correlation of x (N, H, W, C) with w (KH, KW, C // groups, O).

        Parameters
        ----------
        b : (O,) or None
        stride, dilation : (h, w)
        padding : ((top, bottom), (left, right)) zeros round the image
        groups : the channels are split into so many independent convolutions

        Returns
        -------
        (N, HO, WO, O), row-major
            HO = floor((H + top + bottom - dilation (KH - 1) - 1) / stride) + 1, likewise WO.
        """
        n, out = x.shape[0], _output_pair(x.shape, w.shape, stride, padding, dilation)
        padded = self.pad(x, ((0, 0), *padding, (0, 0)), 0)
        y = self.zeros((groups, n * out[0] * out[1], w.shape[3] // groups), x.dtype)
        for tap, pixels in taps(w.shape[:2], out, stride, dilation):
            seen = self._split(self.getitem(padded, pixels), groups)
            y = self.add(y, self.matmul(seen, self._split(self.getitem(w, tap), groups)))
        y = self.ascontiguousarray(self._join(y, (n, *out, w.shape[3])))
        return y if b is None else self.add(y, b)

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
        """The adjoint of conv2d in x: gy (N, HO, WO, O) -> (N, H, W, C); unseen pixels get 0."""
        n, height, width, channels = x_shape
        (top, bottom), (left, right) = padding
        gx = self.zeros((n, height + top + bottom, width + left + right, channels), gy.dtype)
        out = gy.shape[1:3]
        split = self._split(gy, groups)
        for tap, pixels in taps(w.shape[:2], out, stride, dilation):
            matrix = self.permute_dims(self._split(self.getitem(w, tap), groups), (0, 2, 1))
            part = self._join(self.matmul(split, matrix), (n, *out, channels))
            self.setitem(gx, pixels, self.add(self.getitem(gx, pixels), part))
        inside = (slice(None), slice(top, top + height), slice(left, left + width))
        return self.ascontiguousarray(self.getitem(gx, inside))

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
        """The adjoint of conv2d in w: gy (N, HO, WO, O), x (N, H, W, C) -> w_shape."""
        padded = self.pad(x, ((0, 0), *padding, (0, 0)), 0)
        split = self._split(gy, groups)
        gw = self.zeros(w_shape, gy.dtype)
        for tap, pixels in taps((w_shape[0], w_shape[1]), gy.shape[1:3], stride, dilation):
            seen = self.permute_dims(self._split(self.getitem(padded, pixels), groups), (0, 2, 1))
            self.setitem(gw, tap, self._join(self.matmul(seen, split), w_shape[2:]))
        return gw

    def _split(self, x: Array, groups: int) -> Array:
        """(..., groups * K) -> (groups, M, K), all leading axes counted in M."""
        rows = self.reshape(x, (_length(x.shape[:-1]), groups, x.shape[-1] // groups))
        return self.permute_dims(rows, (1, 0, 2))

    def _join(self, x: Array, shape: Shape) -> Array:
        """(groups, M, K) -> ``shape`` (..., groups * K): the inverse of ``_split``."""
        return self.reshape(self.permute_dims(x, (1, 0, 2)), shape)


def _output_pair(
    x_shape: Shape, w_shape: Shape, stride: Pair, padding: Padding, dilation: Pair
) -> Pair:
    height, width = (
        output_size(x_shape[i + 1], w_shape[i], stride[i], padding[i], dilation[i]) for i in (0, 1)
    )
    return height, width


def _length(shape: Shape) -> int:
    """Product of the lengths; written out because -1 in a reshape fails when an axis is empty."""
    total = 1
    for length in shape:
        total *= length
    return total
