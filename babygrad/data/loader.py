"""The loader: batches of Tensors from a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from babygrad import random
from babygrad.data.dataset import as_array, naming_sample
from babygrad.tensor import NDArray, Tensor, from_numpy


class DataLoader:
    """Goes through a dataset in batches; each `iter` is a new epoch of its own.

    Parameters
    ----------
    dataset : Dataset
        Anything with `len` and indexing. When it has a method `get_batch(indices)`, that fetches
        each batch in one call.
    batch_size : int
        The number of samples in a batch; the last batch of an epoch may be smaller.
    shuffle : bool
        Draw a new order for every epoch. Otherwise samples come in the dataset's order.
    drop_last : bool
        Leave out a last batch that is smaller.
    generator : babygrad.random.Generator, optional
        Where the order comes from, instead of babygrad's (`manual_seed`) or numpy's generator.

    Yields
    ------
    tuple of Tensor
        One per element of a sample, or a single Tensor when samples are not tuples. Arrays and
        Tensors keep their dtype, so labels stay integers; Python floats become float32.

    Raises
    ------
    ValueError
        When `batch_size` is not a positive integer, or samples of a batch differ in shape.

    Examples
    --------
    >>> import babygrad, numpy
    >>> dataset = babygrad.data.ArrayDataset(numpy.zeros((5, 2), "float32"), numpy.arange(5))
    >>> loader = babygrad.data.DataLoader(dataset, batch_size=2)
    >>> len(loader)
    3
    >>> [labels.tolist() for _, labels in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: random.Generator | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
            raise ValueError(f"DataLoader: batch_size (={batch_size!r}) must be an integer")
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size (={batch_size}) must be positive")
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.generator = generator

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        n = len(self.dataset)
        # Drawn here and not in the generator below, so that epochs get their order when they
        # begin, however their batches are then taken in turn.
        order = random.shuffled(n, self.generator) if self.shuffle else np.arange(n)
        return self._batches(order)

    def _batches(self, order: NDArray) -> Iterator[Any]:
        fetch = getattr(self.dataset, "get_batch", self._read_each)
        for i in range(len(self)):
            indices = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield _as_tensors(fetch(indices))

    def _read_each(self, indices: NDArray) -> Any:
        """A batch from a dataset that gives one sample at a time."""
        samples = []
        for index in indices.tolist():
            with naming_sample(index):
                samples.append(self.dataset[index])
        if not isinstance(samples[0], tuple | list):
            return _stacked(samples, indices)
        sizes = {len(sample) for sample in samples}
        if len(sizes) > 1:
            raise ValueError(f"DataLoader: samples have different numbers of elements, {sizes}")
        return tuple(_stacked(column, indices) for column in zip(*samples, strict=True))


def _stacked(values: Sequence[Any], indices: NDArray) -> NDArray:
    """One array of the values that several samples have in the same place."""
    arrays = [as_array(value) for value in values]
    for array, index in zip(arrays, indices, strict=True):
        if array.shape != arrays[0].shape:
            raise ValueError(
                f"DataLoader: sample {index} has shape {array.shape}, sample {indices[0]} of the "
                f"same batch has {arrays[0].shape}; they must be equal"
            )
    return np.stack(arrays)


def _as_tensors(batch: Any) -> Any:
    """The batch with every array as a Tensor that shares its memory."""
    if isinstance(batch, tuple | list):
        return tuple(_as_tensor(column) for column in batch)
    return _as_tensor(batch)


def _as_tensor(column: Any) -> Tensor:
    return column if isinstance(column, Tensor) else from_numpy(as_array(column))
