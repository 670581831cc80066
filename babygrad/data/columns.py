"""Columns: what the samples of a batch have in one place, as one array of one dtype."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from babygrad.data.dataset import as_array, described
from babygrad.dtypes import FLOAT32, INT64, UINT64, DType, as_dtype, promote
from babygrad.tensor import NDArray, Tensor, from_numpy

PYTHON_NUMBERS = {bool, int, float}


class Columns:
    """Makes the columns of one epoch's batches, and remembers their dtypes.

    Parameters
    ----------
    dataset : sized and indexable
        Named in errors. A list or tuple is looked through for the dtypes of its columns; of
        another dataset the first batch decides.
    """

    def __init__(self, dataset: Any) -> None:
        self.name = type(dataset).__name__
        self.dtypes: list[DType] = []
        if type(dataset) in (tuple, list) and dataset:
            indices = range(len(dataset))
            columns, single = self._columns(dataset, indices)
            for k, column in enumerate(columns):
                self.dtypes.append(self._dtype(column, indices, None if single else k))

    def of_samples(self, samples: Sequence[Any], indices: Sequence[int]) -> Any:
        """A tuple of arrays, one per element of a sample; one array when samples are no tuples."""
        columns, single = self._columns(samples, indices)
        if single:
            return self._stacked(columns[0], indices, None)
        return tuple(self._stacked(column, indices, k) for k, column in enumerate(columns))

    def tensor(self, column: Any, k: int, indices: NDArray) -> Tensor:
        """Column k of a batch as a Tensor of the dtype that the column has in this epoch."""
        if isinstance(column, Tensor):
            made = column
        else:
            known = k < len(self.dtypes) and type(column) is np.ndarray
            if known and column.dtype == self.dtypes[k] and column.flags.aligned:
                return from_numpy(column)
            array = as_array(column, f"DataLoader: column {k} of a batch of the {self.name}")
            made = from_numpy(np.require(array, as_dtype(array.dtype), "A"))
        if k == len(self.dtypes):
            self.dtypes.append(made.dtype)
        dtype = self.dtypes[k]
        if made.dtype == dtype:
            return made
        place = f"DataLoader: column {k} of the {self.name} in the batch of sample {indices[0]}"
        if dtype == INT64:
            _check_int64(made.data, place)
        # A batch without the large values of a list is int64 by itself.
        fits = dtype == UINT64 and made.dtype == INT64 and made.data.min(initial=0) >= 0
        if not fits and promote(dtype, made.dtype) != dtype:
            raise TypeError(
                f"DataLoader: column {k} of the {self.name} is {made.dtype} in the batch of "
                f"sample {indices[0]}, and was {dtype} in the batches before; a column must have "
                "one dtype, so let the dataset convert its samples"
            )
        return made.astype(dtype)

    def _columns(
        self, samples: Sequence[Any], indices: Sequence[int]
    ) -> tuple[list[Sequence[Any]], bool]:
        """The values of the samples by column, and whether samples are single values."""
        single = not isinstance(samples[0], tuple | list)
        for index, sample in zip(indices, samples, strict=True):
            if isinstance(sample, tuple | list) is single or (
                not single and len(sample) != len(samples[0])
            ):
                raise ValueError(
                    "DataLoader: samples have different numbers of elements: sample "
                    f"{indices[0]} of the {self.name} is {described(samples[0])}, "
                    f"sample {index} is {described(sample)}"
                )
        return ([samples] if single else list(zip(*samples, strict=True))), single

    def _stacked(self, values: Sequence[Any], indices: Sequence[int], k: int | None) -> NDArray:
        dtype = self._dtype(values, indices, k)
        if PYTHON_NUMBERS.issuperset(map(type, values)):
            return np.array(values, dtype)
        arrays = [as_array(value) for value in values]
        if len({array.shape for array in arrays}) > 1:
            i = next(i for i, array in enumerate(arrays) if array.shape != arrays[0].shape)
            raise ValueError(
                f"DataLoader: sample {indices[i]} has shape {arrays[i].shape}, sample {indices[0]} "
                f"of the same batch has {arrays[0].shape}; they must be equal"
            )
        return np.stack(arrays, dtype=dtype, casting="unsafe")

    def _dtype(self, values: Sequence[Any], indices: Sequence[int], k: int | None) -> DType:
        """The dtype that holds all the values of a column; an error names one that is no number."""
        try:
            return _common_dtype(values)
        except (TypeError, ValueError):
            column = "" if k is None else f", column {k}"
            for index, value in zip(indices, values, strict=True):
                place = f"DataLoader: sample {index} of the {self.name}{column}"
                _check_int64(as_array(value, place), place)
            raise


def _common_dtype(values: Sequence[Any]) -> DType:
    """The dtype to which the promotion table brings the values' own."""
    types = set(map(type, values))
    if types <= PYTHON_NUMBERS:
        # Most columns of lists are such labels; one conversion for all takes a tenth of the time.
        if float in types:
            return FLOAT32
        found = np.array(values).dtype
        if found.kind != "f":
            return as_dtype(found)
        # numpy makes floats of integers on both sides of int64's largest, and loses digits.
        if min(values) >= 0:
            return UINT64
        raise ValueError("DataLoader: no integer type has all numbers of a column")
    if types == {np.ndarray}:
        dtypes = {value.dtype for value in values}
    else:
        dtypes = {as_array(value).dtype for value in values}
    dtype = reduce(promote, map(as_dtype, dtypes))
    if dtype == INT64 and UINT64 in dtypes:
        for value in values:
            _check_int64(as_array(value), "DataLoader: a column")
    return dtype


def _check_int64(array: NDArray, place: str) -> None:
    """Raise when a column of signed integers has a number that only uint64 has."""
    if array.dtype == UINT64 and array.max(initial=0) >> 63:
        raise ValueError(
            f"{place}: the number {array.max()} does not fit int64, the type of a column with "
            "signed integers beside it; give arrays of one dtype"
        )
