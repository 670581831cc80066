"""Packing for convolution: image pixels to matrix rows and back.

A *line* is one row of output pixels of one image; lines are counted through the batch.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
from __future__ import annotations

from numba import prange

from babygrad.backends.numba.runtime import kernel


@kernel
def pack(x, first, out_h, out_w, stride, before, dilation, columns):
    """Row of columns (L, WO, KH, KW, C) = the pixels that an output pixel sees, 0 in padding.

    The lines are first, first + 1, ..., first + L - 1.
    """
    _, height, width, channels = x.shape
    for line in prange(columns.shape[0]):
        n, i = (first + line) // out_h, (first + line) % out_h
        for j in range(out_w):
            for kh in range(columns.shape[2]):
                h = i * stride[0] - before[0] + kh * dilation[0]
                for kw in range(columns.shape[3]):
                    w = j * stride[1] - before[1] + kw * dilation[1]
                    if 0 <= h < height and 0 <= w < width:
                        for c in range(channels):
                            columns[line, j, kh, kw, c] = x[n, h, w, c]
                    else:
                        for c in range(channels):
                            columns[line, j, kh, kw, c] = 0


@kernel
def unpack_add(columns, first, out_h, out_w, stride, before, dilation, gx):
    """The adjoint of pack: gx (N, H, W, C) += columns at the pixels that they were packed from.

    Each input row gathers what is its own, so that no two threads write to one place.
    """
    _, height, width, channels = gx.shape
    lines = columns.shape[0]
    first_image = first // out_h
    last_image = (first + lines - 1) // out_h
    for row in prange((last_image - first_image + 1) * height):
        n, h = first_image + row // height, row % height
        for kh in range(columns.shape[2]):
            i = h + before[0] - kh * dilation[0]
            line = n * out_h + i // stride[0] - first
            if i < 0 or i % stride[0] or i // stride[0] >= out_h or line < 0 or line >= lines:
                continue
            for j in range(out_w):
                for kw in range(columns.shape[3]):
                    w = j * stride[1] - before[1] + kw * dilation[1]
                    if 0 <= w < width:
                        for c in range(channels):
                            gx[n, h, w, c] += columns[line, j, kh, kw, c]
