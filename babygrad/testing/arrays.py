"""The inputs of the suite: one set of values in every memory layout, length and special value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from babygrad.backends.aliases import Array, Shape

FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64")

# One more than any vector width times two, so that every tail length of an unrolled loop occurs.
LENGTHS = range(1, 68)


def values(shape: Shape, dtype: str, low: float = -3.0, high: float = 3.0, seed: int = 0) -> Array:
    """Uniform in [low, high), the same on every call; bools are fair coins."""
    generator = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return generator.random(shape) < 0.5
    return np.asarray(generator.uniform(low, high, shape), dtype)


def distinct(shape: Shape, dtype: str, seed: int = 0) -> Array:
    """A permutation of whole numbers round 0: no ties, and exact in every dtype."""
    size = int(np.prod(shape))
    order = np.random.default_rng([seed, *shape]).permutation(size) - size // 2
    return order.reshape(shape).astype(dtype)


def special(dtype: str) -> Array:
    """NaN, infinities, zeros of both signs, and the ends of the normal and subnormal range."""
    limits = np.finfo(dtype)
    edges = [limits.max, limits.tiny, limits.smallest_subnormal, limits.eps]
    numbers: list[Any] = [np.nan, np.inf, 0.0, 1.0, 0.5, 88.7, 89.0, 709.7, 710.0, *edges]
    return np.array([*numbers, *(-n for n in numbers)], dtype)


def rotations(x: Array) -> Iterator[Array]:
    """Vectors that bring every element of x into every lane of a vector register."""
    long = np.tile(x, 1 + LENGTHS[-1] // x.size)
    for shift in range(x.size):
        yield np.roll(long, shift)


def layouts(x: Array) -> Iterator[tuple[str, Array]]:
    """The values of x (at least 2-d) in every memory layout."""
    yield "contiguous", x.copy()
    yield "transposed", np.array(x.T, order="C").T
    yield "inner axes swapped", np.swapaxes(np.array(np.swapaxes(x, 0, 1), order="C"), 0, 1)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield "strided", wide[..., ::2]
    yield "negative strides", np.flip(np.flip(x).copy())
    yield "unaligned", unaligned(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen


def unaligned(x: Array) -> Array:
    """The values at an odd address."""
    buffer = np.empty(x.nbytes + 1, np.uint8)[1:]
    y: Array = buffer.view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


def with_every_layout(*arrays: Array) -> Iterator[tuple[str, list[Array]]]:
    """All arrays in each layout, then in the mixture: the first contiguous, the others not."""
    for together in zip(*(layouts(a) for a in arrays), strict=True):
        yield together[0][0], [a for _, a in together]
    if len(arrays) > 1:
        yield "mixed", [arrays[0].copy(), *(np.array(a.T, order="C").T for a in arrays[1:])]


def frozen_call(member: Any, *args: Any) -> Any:
    """member(*args), and an AssertionError if it wrote to an array that it was given."""
    before = [a.copy() if isinstance(a, np.ndarray) else None for a in args]
    result = member(*args)
    for a, b in zip(args, before, strict=True):
        if b is not None and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            raise AssertionError("the member wrote to one of its inputs")
    return result
