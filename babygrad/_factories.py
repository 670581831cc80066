"""The ways to create a Tensor that the book gives to the class itself.

Random values are drawn in float64 from the generator of `babygrad.random` and then cast, so that
a seed gives the same values on every device. As in the book, what a factory makes requires grad
unless told otherwise.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from babygrad import random
from babygrad._numbers import array_of, checked
from babygrad.dtypes import UINT64, as_dtype, is_float


def shape_of(shape: tuple[Any, ...], op: str) -> tuple[int, ...]:
    """`(2, 3)` from the arguments `2, 3` or from the one argument `(2, 3)`.

    Raises
    ------
    ValueError
        When a size is negative or no integer.
    """
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    for size in sizes:
        if not isinstance(size, int | np.integer) or size < 0:
            raise ValueError(
                f"{op}: shape {tuple(sizes)} must consist of non-negative integers, not {size!r}"
            )
    return tuple(int(size) for size in sizes)


class TensorFactories:
    """Class methods that create tensors; a base class of `Tensor`."""

    __slots__ = ()

    @classmethod
    def _create(cls, array: Any, device: str | None, dtype: Any, requires_grad: bool) -> Self:
        make: Any = cls
        return make(  # type: ignore[no-any-return]
            array,
            device=device,
            dtype=dtype,
            # A tensor of integers has no gradient to require.
            requires_grad=requires_grad and is_float(as_dtype(dtype)),
        )

    @classmethod
    def rand(
        cls,
        *shape: Any,
        low: float = 0.0,
        high: float = 1.0,
        dtype: Any = "float32",
        requires_grad: bool = True,
        device: str | None = None,
        generator: random.Generator | None = None,
    ) -> Self:
        """Values uniform on [low, high).

        `high` itself is never among them: where a value would be rounded to it, in the type or
        before, the next smaller number of the type stands. With `low == high` all are that number.

        Raises
        ------
        ValueError
            When `low` is above `high`, or one is infinite or NaN.
        """
        sizes = shape_of(shape, "rand")
        values = random.uniform_between(sizes, low, high, as_dtype(dtype), generator)
        return cls._create(values, device, dtype, requires_grad)

    @classmethod
    def randn(
        cls,
        *shape: Any,
        mean: float = 0.0,
        std: float = 1.0,
        dtype: Any = "float32",
        requires_grad: bool = True,
        device: str | None = None,
        generator: random.Generator | None = None,
    ) -> Self:
        """Values of the normal distribution with this mean and standard deviation."""
        values = random.normal(shape_of(shape, "randn"), generator) * std + mean
        return cls._create(values, device, dtype, requires_grad)

    @classmethod
    def randb(
        cls,
        *shape: Any,
        p: float = 0.5,
        dtype: Any = "float32",
        requires_grad: bool = True,
        device: str | None = None,
        generator: random.Generator | None = None,
    ) -> Self:
        """Ones with probability `p`, zeros otherwise."""
        values = random.uniform(shape_of(shape, "randb"), generator) <= p
        return cls._create(values, device, dtype, requires_grad)

    @classmethod
    def constant(
        cls,
        *shape: Any,
        c: float = 1.0,
        dtype: Any = "float32",
        requires_grad: bool = True,
        device: str | None = None,
    ) -> Self:
        """The value `c` everywhere."""
        checked("constant", c)
        values = np.full(shape_of(shape, "constant"), c, as_dtype(dtype))
        return cls._create(values, device, dtype, requires_grad)

    @classmethod
    def ones(
        cls,
        *shape: Any,
        dtype: Any = "float32",
        requires_grad: bool = True,
        device: str | None = None,
    ) -> Self:
        """Ones.

        Examples
        --------
        >>> import babygrad
        >>> babygrad.Tensor.ones(2, 3, requires_grad=False)
        Tensor([[1., 1., 1.],
                [1., 1., 1.]])
        """
        values = np.ones(shape_of(shape, "ones"), as_dtype(dtype))
        return cls._create(values, device, dtype, requires_grad)

    @classmethod
    def zeros(
        cls,
        *shape: Any,
        dtype: Any = "float32",
        requires_grad: bool = True,
        device: str | None = None,
    ) -> Self:
        """Zeros."""
        values = np.zeros(shape_of(shape, "zeros"), as_dtype(dtype))
        return cls._create(values, device, dtype, requires_grad)

    @classmethod
    def empty(
        cls,
        *shape: Any,
        dtype: Any = "float32",
        requires_grad: bool = True,
        device: str | None = None,
    ) -> Self:
        """Whatever the memory holds."""
        values = np.empty(shape_of(shape, "empty"), as_dtype(dtype))
        return cls._create(values, device, dtype, requires_grad)

    @classmethod
    def one_hot(
        cls,
        indices: Any,
        num_classes: int,
        device: str | None = None,
        dtype: Any = "float32",
        requires_grad: bool = True,
    ) -> Self:
        """One row of `num_classes` zeros for each index, with a one at the index.

        Parameters
        ----------
        indices : Tensor, array or list
            Whole numbers of [0, num_classes), integers or floats as the book's labels are.

        Raises
        ------
        IndexError
            When an index is outside the range; the message names it and its position.
        """
        ids = class_ids(indices, num_classes, "one_hot", role="index")
        if device is None:
            device = getattr(indices, "device", None) if hasattr(indices, "_device") else None
        rows = np.zeros((*ids.shape, num_classes), as_dtype(dtype))
        np.put_along_axis(rows, ids[..., None], 1, axis=-1)
        return cls._create(rows, device, dtype, requires_grad)


def class_ids(
    labels: Any, num_classes: int, op: str, ignore_index: int | None = None, role: str = "label"
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Labels as int64, checked: whole numbers of [0, num_classes); -1 for `ignore_index`.

    Raises
    ------
    TypeError, ValueError, IndexError
        For labels that are no numbers, not whole, or out of range; with value and position.
    """
    raw = checked(f"{op}: {role}", array_of(labels))
    ids = raw.astype(np.int64) if raw.dtype.kind != "f" else _whole(raw, op, role)
    if raw.dtype == UINT64:
        # Those beyond int64 must not come round to negative ones: -100 may stand for ignored.
        ids = np.where(ids < 0, np.iinfo(np.int64).max, ids)
    outside = ids.view(np.uint64) >= num_classes  # negative ones are large there
    if ignore_index is not None and (ignored := ids == ignore_index).any():
        outside &= ~ignored
        ids = np.where(ignored, -1, ids)
    if outside.any():
        where = np.unravel_index(int(outside.argmax()), ids.shape)
        raise IndexError(
            f"{op}: {role} {(raw if raw.dtype.kind == 'u' else ids)[where]} "
            f"at position {tuple(int(i) for i in where)} is outside the range [0, {num_classes})"
        )
    return ids


def _whole(raw: np.ndarray[Any, Any], op: str, role: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    broken = ~np.isfinite(raw) | (raw != np.floor(raw))
    if broken.any():
        where = np.unravel_index(int(broken.argmax()), raw.shape)
        raise ValueError(
            f"{op}: {role} {raw[where]} at position {tuple(int(i) for i in where)} "
            "is not a whole number"
        )
    return raw.astype(np.int64)
