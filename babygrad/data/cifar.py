"""CIFAR-10 and CIFAR-100, read from their own pickled batches without trusting them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from babygrad.data.dataset import Dataset, Transform, rows, transformed_rows
from babygrad.data.unpickling import ByteArray, shown, unpickle
from babygrad.tensor import NDArray

SHAPE = (3, 32, 32)
# The largest file, CIFAR-100's training set, has 155 MB.
LARGEST_FILE = 1 << 29


class _CIFARDataset(Dataset):
    """What the two datasets have in common: images of shape (n, 32, 32, 3), and their labels."""

    images: NDArray
    labels: NDArray

    def __getitem__(self, index: int) -> tuple[NDArray, int]:
        image = self.apply_transforms(self.images[index].copy())
        return image.transpose(2, 0, 1), int(self.labels[index])

    def __len__(self) -> int:
        return len(self.images)

    def __babygrad_batch__(self, indices: NDArray) -> tuple[NDArray, NDArray]:
        """The (k, 3, 32, 32) images at `indices`, after the transforms, and their labels."""
        images = transformed_rows(self, self.images, indices)
        return images.transpose(0, 3, 1, 2), rows(self.labels, indices)


class CIFAR10Dataset(_CIFARDataset):
    """32x32 colour images of ten classes, from the folder `cifar-10-batches-py`.

    Parameters
    ----------
    base_folder : str or Path
        The folder with `data_batch_1` to `data_batch_5` and `test_batch`.
    train : bool
        The 50,000 training images, or the 10,000 test images.
    transforms : sequence of callable, optional
        Functions of one image as a (32, 32, 3) float32 array.

    Attributes
    ----------
    images : (n, 32, 32, 3) float32
        Scaled to [0, 1].
    labels : (n,) int64

    Notes
    -----
    An integer index gives the image as a (3, 32, 32) array, which is what `nn.Conv` takes, and the
    label as an int; a `DataLoader` gives (k, 3, 32, 32) and (k,).

    Raises
    ------
    ValueError
        When a file is not one of CIFAR-10's batches.
    OSError
        When a file cannot be read.
    """

    def __init__(
        self,
        base_folder: str | Path,
        train: bool,
        transforms: Sequence[Transform] | None = None,
    ) -> None:
        super().__init__(transforms)
        names = [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]
        files = [Path(base_folder) / name for name in names]
        batches = [_read_batch(file, "CIFAR-10", {"labels": 10}) for file in files]
        self.images = _scaled([images for images, _ in batches])
        self.labels = np.concatenate([labels for _, labels in batches])


class CIFAR100Dataset(_CIFARDataset):
    """32x32 colour images of a hundred classes in twenty groups, from `cifar-100-python`.

    Parameters
    ----------
    base_folder : str or Path
        The folder with the files `train` and `test`.
    train : bool
        The 50,000 training images, or the 10,000 test images.
    transforms : sequence of callable, optional
        Functions of one image as a (32, 32, 3) float32 array.
    label_mode : {"fine", "coarse"}
        Whether a sample's label is its class, of 100, or its class's group, of 20.

    Attributes
    ----------
    images : (n, 32, 32, 3) float32
        Scaled to [0, 1].
    fine_labels, coarse_labels : (n,) int64
    labels : (n,) int64
        Those of the two that `label_mode` names.

    Notes
    -----
    Samples have the form that they have in `CIFAR10Dataset`.

    Raises
    ------
    ValueError
        When a file is not CIFAR-100's, or `label_mode` has another value.
    OSError
        When a file cannot be read.
    """

    def __init__(
        self,
        base_folder: str | Path,
        train: bool,
        transforms: Sequence[Transform] | None = None,
        label_mode: str = "fine",
    ) -> None:
        super().__init__(transforms)
        if label_mode not in ("fine", "coarse"):
            raise ValueError(
                f"CIFAR100Dataset: label_mode (={label_mode!r}) must be 'fine' or 'coarse'"
            )
        file = Path(base_folder) / ("train" if train else "test")
        classes = {"fine_labels": 100, "coarse_labels": 20}
        images, self.fine_labels, self.coarse_labels = _read_batch(file, "CIFAR-100", classes)
        self.images = _scaled([images])
        self.labels = self.fine_labels if label_mode == "fine" else self.coarse_labels


def _scaled(stored: Sequence[NDArray]) -> NDArray:
    """(n, 3 * 32 * 32) uint8 batches -> (n, 32, 32, 3) float32 of [0, 1]."""
    pixels = np.concatenate(stored).reshape(-1, *SHAPE).transpose(0, 2, 3, 1)
    scaled: NDArray = np.divide(np.ascontiguousarray(pixels), 255, dtype=np.float32)
    return scaled


def _read_batch(filename: Path, name: str, classes: dict[str, int]) -> list[NDArray]:
    """The (n, 3072) uint8 images of one file, and (n,) int64 labels under each key of `classes`."""
    try:
        return _parsed_batch(_content(filename), classes)
    except UnpicklingError as error:
        raise ValueError(f"{filename}: not a batch of {name}: {error}") from None


def _content(filename: Path) -> bytes:
    with open(filename, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_FILE:
            raise UnpicklingError(f"it has {size:,} bytes, three times those of the largest")
        return file.read(size)


def _parsed_batch(content: bytes, classes: dict[str, int]) -> list[NDArray]:
    batch = unpickle(content)
    if not isinstance(batch, dict):
        raise UnpicklingError(f"it holds a {type(batch).__name__}, not a dict")
    columns: list[Any] = [batch.get(key.encode(), batch.get(key)) for key in ("data", *classes)]
    images, *labels = columns
    if not isinstance(images, ByteArray) or not all(isinstance(column, list) for column in labels):
        lists = " and ".join(f"list {key!r}" for key in classes)
        raise UnpicklingError(f"it has no array 'data' and {lists}")
    if images.array.ndim != 2 or images.array.shape[1] != math.prod(SHAPE):
        raise UnpicklingError(f"its data has shape {images.array.shape}, not (n, 3072)")
    checked = (
        _labels(column, count, len(images.array))
        for column, count in zip(labels, classes.values(), strict=True)
    )
    return [images.array, *checked]


def _labels(labels: list[Any], classes: int, images: int) -> NDArray:
    """The labels as an array, when there is one of [0, classes) for each image."""
    if len(labels) != images:
        raise UnpicklingError(f"{images} images, but {len(labels)} labels")
    for i, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label < classes:
            raise UnpicklingError(
                f"label {i} (={shown(label)}) is no integer of 0 to {classes - 1}"
            )
    return np.array(labels, np.int64)
