"""Resizing images: `interpolate`, nearest and bilinear."""

from __future__ import annotations

import math
from typing import Any

from babygrad.ops._common import floating
from babygrad.ops._fused import pair_of
from babygrad.ops.indexing import take
from babygrad.tensor import Tensor


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Tensor:
    """Images of another size.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    size : int or pair, optional
        Rows and columns of the result.
    scale_factor : number or pair, optional
        The size as a multiple of the old one, rounded down. Give this or `size`.
    mode : {"nearest", "bilinear"}
    align_corners : bool
        Pixels are squares, and the centre of a new one is looked up in the image. With
        `align_corners` they are points, and the outermost ones stay the outermost; for bilinear.

    Returns
    -------
    Tensor (N, C, HO, WO)
    """
    op = "interpolate"
    image = floating(op, x)
    if image.ndim != 4 or 0 in image.shape[1:]:
        raise ValueError(f"{op}: x has shape {image.shape}; it must be a non-empty (N, C, H, W)")
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"{op}: mode (={mode!r}) must be 'nearest' or 'bilinear'")
    if align_corners and mode == "nearest":
        raise ValueError(f"{op}: align_corners (={align_corners}) is for mode 'bilinear'")
    sizes, steps = _sizes_and_steps(op, image.shape, size, scale_factor)
    if align_corners:
        steps = [(n - 1) / max(m - 1, 1) for n, m in zip(image.shape[2:], sizes, strict=True)]
    for axis, count, step in zip((2, 3), sizes, steps, strict=True):
        if mode == "nearest":
            image = _nearest(image, axis, count, step)
        else:
            image = _linear(image, axis, count, step, 0.0 if align_corners else 0.5)
    return image


def _sizes_and_steps(
    op: str, shape: tuple[int, ...], size: Any, scale_factor: Any
) -> tuple[tuple[int, ...], list[float]]:
    """Rows and columns of the result, and how far apart they are in the image."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"{op}: give size (={size}) or scale_factor (={scale_factor}), one of them"
        )
    if size is not None:
        sizes = pair_of(op, "size", size)
        return sizes, [n / m for n, m in zip(shape[2:], sizes, strict=True)]
    factors = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * 2
    if len(factors) != 2 or min(factors) <= 0:
        raise ValueError(f"{op}: scale_factor (={scale_factor}) must be one or two positives")
    scaled = tuple(math.floor(n * f) for n, f in zip(shape[2:], factors, strict=True))
    if min(scaled) < 1:
        raise ValueError(f"{op}: scale_factor (={scale_factor}) leaves nothing of {shape}")
    return scaled, [1 / f for f in factors]


def _nearest(x: Tensor, axis: int, count: int, step: float) -> Tensor:
    last = x.shape[axis] - 1
    return take(x, [min(math.floor(i * step), last) for i in range(count)], axis)


def _linear(x: Tensor, axis: int, count: int, step: float, centre: float) -> Tensor:
    """Between the two pixels with the centres on either side; beyond the outermost, that one."""
    last = x.shape[axis] - 1
    places = [min(max((i + centre) * step - centre, 0.0), last) for i in range(count)]
    below = [math.floor(place) for place in places]
    share = Tensor(
        [place - low for place, low in zip(places, below, strict=True)],
        dtype=x.dtype,
        device=x.device,
    ).reshape((count, *(1,) * (x.ndim - 1 - axis)))
    low = take(x, below, axis)
    high = take(x, [min(low + 1, last) for low in below], axis)
    return low + (high - low) * share
