"""Datasets: what has a length and gives a sample for an index.

A dataset that can fetch many samples at once says so with a method `__babygrad_batch__(indices)`,
which takes an int64 array and returns the arrays of a whole batch; `DataLoader` uses it in place of
indexing sample by sample. The name is one that nobody gives to a method of another meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from babygrad._numbers import checked
from babygrad.dtypes import as_dtype
from babygrad.tensor import NDArray, Tensor

Transform = Callable[[Any], Any]


class Dataset:
    """Base class: subclass it and define `__getitem__` and `__len__`.

    Parameters
    ----------
    transforms : sequence of callable, optional
        Functions of one sample's input, applied in order by `apply_transforms`.

    Examples
    --------
    >>> import babygrad
    >>> class Squares(babygrad.data.Dataset):
    ...     def __getitem__(self, index):
    ...         return self.apply_transforms(float(index)), index * index
    ...     def __len__(self):
    ...         return 3
    >>> Squares(transforms=[lambda x: -x])[2]
    (-2.0, 4)
    """

    def __init__(self, transforms: Sequence[Transform] | None = None) -> None:
        self.transforms = transforms

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index)")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__()")

    def apply_transforms(self, x: Any) -> Any:
        """The input after all transforms, in their order."""
        for transform in self.transforms or ():
            x = transform(x)
        return x


class ArrayDataset(Dataset):
    """Arrays or Tensors of equal length, whose i-th rows together are sample i.

    Parameters
    ----------
    *arrays : array, Tensor or list
        At least one; equal in length along the first axis. Arrays are not copied and keep their
        dtype; lists of floats become float32.
    transforms : sequence of callable, optional
        Applied to the row of the first array.

    Raises
    ------
    TypeError
        When an array does not hold numbers.
    ValueError
        When there is no array, one has no axis, or their lengths differ.

    Examples
    --------
    >>> import babygrad, numpy
    >>> dataset = babygrad.data.ArrayDataset(numpy.eye(3), numpy.array([7, 8, 9]))
    >>> x, y = dataset[1]
    >>> x.tolist(), int(y)
    ([0.0, 1.0, 0.0], 8)
    """

    def __init__(self, *arrays: Any, transforms: Sequence[Transform] | None = None) -> None:
        super().__init__(transforms)
        name = type(self).__name__
        self.arrays = tuple(as_array(a, f"{name}: array {i}") for i, a in enumerate(arrays))
        if not arrays or any(a.ndim == 0 for a in self.arrays):
            raise ValueError(f"{name}: give one or more arrays that have a first axis")
        lengths = [len(a) for a in self.arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"{name}: the arrays differ in length: {lengths}")

    def __getitem__(self, index: Any) -> Any:
        first, *others = (a[index] for a in self.arrays)
        return (self.apply_transforms(first), *others)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __babygrad_batch__(self, indices: NDArray) -> tuple[NDArray, ...]:
        """The rows at `indices` of every array."""
        first, *others = self.arrays
        return (transformed_rows(self, first, indices), *(rows(a, indices) for a in others))


class TensorDataset(ArrayDataset):
    """`ArrayDataset` under the name that it has elsewhere."""


def as_array(data: Any, place: str = "dataset") -> NDArray:
    """The array of a Tensor or an array, not copied; a new one of a list or number.

    Floats become float32, as Tensor makes them, but integers stay integers: they may be labels.

    Raises
    ------
    TypeError
        For anything but real numbers of a type that tensors have; the message begins with `place`.
    """
    if isinstance(data, Tensor):
        return data.data
    array = checked(place, data)
    if array.dtype == np.float64 and not hasattr(data, "dtype"):
        if (np.abs(array) >= 2.0**63).any() and _is_of_integers(data):
            # numpy makes floats of integers on both sides of int64's largest.
            return _large_integers(data, place)
        return array.astype(np.float32)
    as_dtype(array.dtype, place)
    return array


def _is_of_integers(values: Any) -> bool:
    if isinstance(values, list | tuple):
        return all(map(_is_of_integers, values))
    return isinstance(values, int | np.integer)


def _large_integers(data: Any, place: str) -> NDArray:
    try:
        return np.array(data, np.uint64)
    except OverflowError:
        raise TypeError(
            f"{place}: no integer type has all of its numbers, of which one is negative and one "
            f"is above {2**63 - 1}; convert them with float()"
        ) from None


def described(value: Any) -> str:
    """What a value is, for a message: its type, and what tells it from others of the type."""
    if value is None:
        return "None"
    name = type(value).__name__
    article = "an" if name[0] in "aeiouAEIOU" else "a"
    if isinstance(value, dict):
        return f"a dict with the keys {list(value)[:9]}"
    if isinstance(value, Tensor | np.ndarray):
        return f"{article} {name} of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, tuple | list):
        return f"a {name} of {len(value)} elements"
    return f"{article} {name} (={' '.join(repr(value).split()):.60})"


def rows(array: NDArray, indices: NDArray) -> NDArray:
    """A copy of the rows at `indices`."""
    # take copies row by row; for images of 3 kB it takes two thirds of array[indices]'s time.
    return array.take(indices, axis=0)


def transformed_rows(dataset: Dataset, array: NDArray, indices: NDArray) -> NDArray:
    """A copy of the rows at `indices`, each after the dataset's transforms."""
    plain = type(dataset).apply_transforms is Dataset.apply_transforms
    if plain and not dataset.transforms:
        return rows(array, indices)
    return np.stack(list(_transformed(dataset, array, indices)))


def _transformed(dataset: Dataset, array: NDArray, indices: Iterable[int]) -> Iterator[Any]:
    for index in indices:
        with naming_sample(index):
            # A copy, so that a transform that writes into its input leaves the dataset alone.
            yield dataset.apply_transforms(array[index].copy())


@contextmanager
def naming_sample(index: int) -> Iterator[None]:
    """Tell an exception which sample was being read when it was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(f"This happened while reading sample {index} of the dataset.")
        raise
