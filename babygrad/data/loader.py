"""The loader: batches of Tensors from a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from babygrad import random
from babygrad.data.columns import Columns
from babygrad.data.dataset import described, naming_sample
from babygrad.tensor import NDArray, Tensor


class Batch(tuple[Tensor, ...]):
    """The columns of a batch, a tuple.

    Attributes
    ----------
    indices : (k,) int64
        Which samples of the dataset these are.
    """

    indices: NDArray


class DataLoader:
    """Goes through a dataset in batches; each `iter` is a new epoch of its own.

    Parameters
    ----------
    dataset : Dataset
        Anything with `len` and indexing. When its class has a method
        `__babygrad_batch__(indices)`, that fetches each batch in one call, unless a subclass has
        a `__getitem__` of its own: then that is called for each sample.
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
    Batch or Tensor
        A tuple with one Tensor per element of a sample, or a single Tensor when samples are not
        tuples.

    Raises
    ------
    TypeError
        When the dataset has no samples to index, `generator` is another thing, or a sample holds
        anything but numbers.
    ValueError
        When `batch_size` is not a positive integer, `shuffle` or `drop_last` neither True nor
        False, or samples of a batch differ in shape.

    Notes
    -----
    Arrays and Tensors keep their dtype, so labels stay integers; Python's integers are int64, its
    floats float32. A column has one dtype in all batches of an epoch, and where samples differ it
    is that of the promotion table, such as float32 for 1 beside 2.5. A list or tuple of samples is
    looked through for it before the epoch; of another dataset the first batch decides, and a later
    one that the dtype cannot hold is refused.

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
        _check_dataset(dataset)
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
            raise ValueError(f"DataLoader: batch_size (={batch_size!r}) must be an integer")
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size (={batch_size}) must be positive")
        for name, value in (("shuffle", shuffle), ("drop_last", drop_last)):
            if not isinstance(value, int | np.bool_) or value not in (0, 1):
                raise ValueError(f"DataLoader: {name} (={value!r:.60}) must be True or False")
        random.check_generator("DataLoader", generator)
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
        fetch = _batch_fetcher(self.dataset)
        columns = Columns(self.dataset)
        for i in range(len(self)):
            indices = order[i * self.batch_size : (i + 1) * self.batch_size]
            content = self._read(indices, columns) if fetch is None else fetch(indices)
            if isinstance(content, tuple | list):
                batch = Batch(columns.tensor(c, k, indices) for k, c in enumerate(content))
                batch.indices = indices
                yield batch
            else:
                yield columns.tensor(content, 0, indices)

    def _read(self, indices: NDArray, columns: Columns) -> Any:
        """A batch from a dataset that gives one sample at a time."""
        samples = []
        for index in indices.tolist():
            with naming_sample(index):
                samples.append(self.dataset[index])
        return columns.of_samples(samples, indices.tolist())


def _check_dataset(dataset: Any) -> None:
    """Refuse what has no length or no samples 0, 1, ..., before it fails in Python's words."""
    kind = type(dataset)
    sized = hasattr(kind, "__len__")
    indexed = hasattr(kind, "__getitem__") or hasattr(kind, "__babygrad_batch__")
    if isinstance(dataset, Mapping):
        indexed = 0 in dataset or not dataset
    if getattr(dataset, "ndim", None) == 0:
        sized = False  # of an array or Tensor without axes
    if not sized or not indexed or isinstance(dataset, str | bytes):
        raise TypeError(
            f"DataLoader: the dataset is {described(dataset)}; it must be a Dataset, a list of "
            "samples, or anything else with len() whose samples have the indices 0, 1, ..."
        )


def _batch_fetcher(dataset: Any) -> Callable[[NDArray], Any] | None:
    """The method that fetches a batch, unless a subclass has redefined what a sample is."""
    for cls in type(dataset).__mro__:
        if "__babygrad_batch__" in vars(cls):
            fetch: Callable[[NDArray], Any] = dataset.__babygrad_batch__
            return fetch
        if "__getitem__" in vars(cls):
            return None
    return None
