"""Random changes of an image, so that a network does not see the same one twice.

Both take and return one image of shape (H, W, C), and draw from `babygrad.random`, so that
`manual_seed` governs them.
"""

from __future__ import annotations

import numpy as np

from babygrad import random
from babygrad.ops._common import number
from babygrad.tensor import NDArray


class RandomFlipHorizontal:
    """Mirror an image, left to right, with probability `p`.

    Parameters
    ----------
    p : float
        Of [0, 1].
    generator : babygrad.random.Generator, optional
        Where the draws come from, instead of babygrad's or numpy's generator.

    Examples
    --------
    >>> import babygrad, numpy
    >>> image = numpy.array([[[1], [2], [3]]])  # (1, 3, 1)
    >>> babygrad.data.RandomFlipHorizontal(p=1.0)(image).ravel().tolist()
    [3, 2, 1]
    """

    def __init__(self, p: float = 0.5, generator: random.Generator | None = None) -> None:
        if not 0 <= number("RandomFlipHorizontal", "p", p) <= 1:
            raise ValueError(f"RandomFlipHorizontal: p (={p!r}) must be between 0 and 1")
        random.check_generator("RandomFlipHorizontal", generator)
        self.p = p
        self.generator = generator

    def __call__(self, image: NDArray) -> NDArray:
        _check_image("RandomFlipHorizontal", image)
        if random.uniform((), self.generator) < self.p:
            return image[:, ::-1, :]
        return image


class RandomCrop:
    """Put `padding` zeros around an image and cut its old size out of it at a random place.

    Parameters
    ----------
    padding : int
        The largest shift in each direction.
    generator : babygrad.random.Generator, optional
        Where the draws come from, instead of babygrad's or numpy's generator.

    Examples
    --------
    >>> import babygrad, numpy
    >>> babygrad.data.RandomCrop(padding=2)(numpy.ones((28, 28, 1))).shape
    (28, 28, 1)
    """

    def __init__(self, padding: int = 3, generator: random.Generator | None = None) -> None:
        if isinstance(padding, bool) or not isinstance(padding, int | np.integer) or padding < 0:
            raise ValueError(f"RandomCrop: padding (={padding!r}) must be a non-negative integer")
        random.check_generator("RandomCrop", generator)
        self.padding = int(padding)
        self.generator = generator

    def __call__(self, image: NDArray) -> NDArray:
        _check_image("RandomCrop", image)
        n = self.padding
        height, width, channels = image.shape
        top = random.integers(0, 2 * n + 1, self.generator)
        left = random.integers(0, 2 * n + 1, self.generator)
        padded = np.zeros((height + 2 * n, width + 2 * n, channels), image.dtype)
        padded[n : n + height, n : n + width] = image
        return padded[top : top + height, left : left + width]


def _check_image(name: str, image: NDArray) -> None:
    if image.ndim != 3:
        raise ValueError(
            f"{name}: the image has shape {image.shape}, not (height, width, channels)"
        )
