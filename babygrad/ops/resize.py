"""Resizing images: `interpolate`, nearest and bilinear."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Real
from typing import Any

from babygrad.ops._fused import pair_of, real, unstored
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
        The size as a multiple of the old one, rounded down. Give this or `size`. Pixels lie
        `1 / scale_factor` apart then, also where the size was rounded, as in PyTorch.
    mode : {"nearest", "bilinear"}
        With "nearest" row i of n comes from row floor(i H / n), or floor(i / scale_factor): in
        whole numbers, where PyTorch rounds to float32 and may take the row before.
    align_corners : bool
        Pixels are squares, and the centre of a new one is looked up in the image. With
        `align_corners` they are points, and the outermost ones stay the outermost; for bilinear.

    Returns
    -------
    Tensor (N, C, HO, WO)
        For "nearest" of the type of x, integers among them; "bilinear" gives float32 for those.
        float16 gives float32.

    Examples
    --------
    >>> from babygrad import Tensor, ops
    >>> ops.interpolate(Tensor([[[[1, 2]]]], dtype="int64"), size=(1, 5)).tolist()
    [[[[1, 1, 1, 2, 2]]]]
    """
    op = "interpolate"
    image = unstored(op, x) if mode == "nearest" else real(op, x)
    if image.ndim != 4 or 0 in image.shape[1:]:
        raise ValueError(f"{op}: x has shape {image.shape}; it must be a non-empty (N, C, H, W)")
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"{op}: mode (={mode!r}) must be 'nearest' or 'bilinear'")
    if align_corners and mode == "nearest":
        raise ValueError(f"{op}: align_corners (={align_corners}) is for mode 'bilinear'")
    sizes, steps = _sizes_and_steps(op, image.shape, size, scale_factor)
    if align_corners:
        pairs = zip(image.shape[2:], sizes, strict=True)
        steps = [Fraction(n - 1, max(m - 1, 1)) for n, m in pairs]
    for axis, count, step in zip((2, 3), sizes, steps, strict=True):
        if mode == "nearest":
            image = _nearest(image, axis, count, step)
        else:
            image = _linear(image, axis, count, step, not align_corners)
    return image


def _sizes_and_steps(
    op: str, shape: tuple[int, ...], size: Any, scale_factor: Any
) -> tuple[tuple[int, ...], list[Fraction]]:
    """Rows and columns of the result, and how far apart they are in the image, exactly."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"{op}: give size (={size}) or scale_factor (={scale_factor}), one of them"
        )
    if size is not None:
        sizes = pair_of(op, "size", size)
        return sizes, [Fraction(n, m) for n, m in zip(shape[2:], sizes, strict=True)]
    given = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * 2
    factors = [float(f) for f in given if isinstance(f, Real)]
    if len(given) != 2 or len(factors) != 2 or not all(0 < f < math.inf for f in factors):
        raise ValueError(f"{op}: scale_factor (={scale_factor}) must be one or two positives")
    scaled = tuple(math.floor(n * f) for n, f in zip(shape[2:], factors, strict=True))
    if min(scaled) < 1:
        raise ValueError(f"{op}: scale_factor (={scale_factor}) leaves nothing of {shape}")
    return scaled, [1 / _fraction(f) for f in factors]


def _fraction(number: float) -> Fraction:
    """A fraction of small terms that is this float: a tenth, of which 0.1 is a little more."""
    exact, limit = Fraction(number), 1
    while float(simple := exact.limit_denominator(limit)) != number:
        limit *= 2
    return simple


def _nearest(x: Tensor, axis: int, count: int, step: Fraction) -> Tensor:
    n, m, last = step.numerator, step.denominator, x.shape[axis] - 1
    return take(x, [min(i * n // m, last) for i in range(count)], axis)


def _linear(x: Tensor, axis: int, count: int, step: Fraction, centred: bool) -> Tensor:
    """Between the two pixels with the centres on either side; beyond the outermost, that one."""
    n, m, last = step.numerator, step.denominator, x.shape[axis] - 1
    # Places in units of 1 / (2 m): i step, or (i + 1/2) step - 1/2.
    unit = 2 * m
    places = [(2 * i + 1) * n - m if centred else 2 * i * n for i in range(count)]
    places = [min(max(place, 0), last * unit) for place in places]
    below = [place // unit for place in places]
    share = Tensor(
        [place % unit / unit for place in places], dtype=x.dtype, device=x.device
    ).reshape((count, *(1,) * (x.ndim - 1 - axis)))
    low = take(x, below, axis)
    high = take(x, [min(low + 1, last) for low in below], axis)
    return low + (high - low) * share
