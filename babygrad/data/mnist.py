"""MNIST: its files, the dataset, and the 5,000 digits that come with babygrad."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from babygrad.data.dataset import Dataset, Transform, rows, transformed_rows
from babygrad.data.idx import Filename, read_idx
from babygrad.tensor import NDArray

SIDE = 28
WHITE = 255


def parse_mnist(image_filename: Filename, label_filename: Filename) -> tuple[NDArray, NDArray]:
    """Read images and labels from two IDX files, gzipped or not.

    Returns
    -------
    images : (n, 784) float32
        One image a row, row by row from the top, scaled to [0, 1].
    labels : (n,) uint8
        MNIST's own files hold unsigned bytes; labels of another integer type keep it, labels of a
        floating type become int64.

    Raises
    ------
    ValueError
        When a file is no IDX file of images (or labels), is truncated or too long, the images are
        not 28x28, the counts differ, a pixel is outside of 0 to 255, or a label is negative or not
        whole. Nothing is allocated for what a header only promises.
    OSError
        When a file cannot be read.

    Notes
    -----
    Pixels of every type go from 0 to 255, except that the images of a file of floats none of which
    is above 1 are taken as scaled already.
    """
    images = read_idx(image_filename, 3, "images")
    labels = read_idx(label_filename, 1, "labels")
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(
            f"{image_filename}: images are {images.shape[1]}x{images.shape[2]}, not {SIDE}x{SIDE}"
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{image_filename} has {len(images)} images, "
            f"but {label_filename} has {len(labels)} labels"
        )
    return _scaled(image_filename, images), _classes(label_filename, labels)


def _scaled(filename: Filename, images: NDArray) -> NDArray:
    """(n, 28, 28) pixels of any type as (n, 784) float32 of [0, 1]."""
    flat = images.reshape(len(images), SIDE * SIDE)
    if flat.dtype != np.uint8:
        # Written so that NaN is outside.
        _refuse(filename, "image", "a pixel of", flat, ~((flat >= 0) & (flat <= WHITE)), "0 to 255")
    white = 1 if flat.dtype.kind == "f" and flat.size and flat.max() <= 1 else WHITE
    scaled: NDArray = np.divide(flat, white, dtype=np.float32, casting="unsafe")
    return scaled


def _classes(filename: Filename, labels: NDArray) -> NDArray:
    """Labels that are whole numbers from 0 on, of an integer type."""
    if labels.dtype == np.uint8:
        return labels
    wrong = ~((labels >= 0) & (labels < 2**53) & (labels == np.floor(labels)))
    _refuse(filename, "label", "the value", labels, wrong, "the whole numbers from 0 on")
    return labels.astype(np.int64) if labels.dtype.kind == "f" else labels


def _refuse(
    filename: Filename, what: str, part: str, values: NDArray, wrong: NDArray, allowed: str
) -> None:
    """Raise when any of the values is wrong."""
    if wrong.any():
        i = int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())
        raise ValueError(
            f"{filename}: {what} {i} has {part} {values[i][wrong[i]].flat[0]}, not one of {allowed}"
        )


class MNISTDataset(Dataset):
    """Images of handwritten digits and their labels, from two IDX files.

    Parameters
    ----------
    image_filename, label_filename : str or Path
        IDX files, gzipped or not.
    transforms : sequence of callable, optional
        Functions of one image, a (28, 28, 1) float32 array.

    Attributes
    ----------
    images : (n, 784) float32
        Scaled to [0, 1].
    labels : (n,) uint8
        Or another integer type, as `parse_mnist`.

    Notes
    -----
    An integer index gives the image as a (28, 28, 1) array after the transforms and the label as
    a 0-d array; a slice gives (k, 28, 28, 1) and (k,), without transforms, as in the book. A
    `DataLoader` applies them to each image of a batch.

    Raises
    ------
    ValueError, OSError
        As `parse_mnist`.
    """

    def __init__(
        self,
        image_filename: Filename,
        label_filename: Filename,
        transforms: Sequence[Transform] | None = None,
    ) -> None:
        super().__init__(transforms)
        self.images, self.labels = parse_mnist(image_filename, label_filename)

    def __getitem__(self, index: Any) -> tuple[NDArray, NDArray]:
        images = np.array(self.images[index])
        labels = np.array(self.labels[index])
        if images.ndim == 2:
            return images.reshape(-1, SIDE, SIDE, 1), labels
        return self.apply_transforms(images.reshape(SIDE, SIDE, 1)), labels

    def __len__(self) -> int:
        return len(self.images)

    def __babygrad_batch__(self, indices: NDArray) -> tuple[NDArray, NDArray]:
        """The (k, 28, 28, 1) images at `indices`, after the transforms, and their labels."""
        images = self.images.reshape(-1, SIDE, SIDE, 1)
        return transformed_rows(self, images, indices), rows(self.labels, indices)


def mnist5k(transforms: Sequence[Transform] | None = None) -> tuple[MNISTDataset, MNISTDataset]:
    """The 4,000 training and 1,000 test digits that come with babygrad, 500 of each class.

    Parameters
    ----------
    transforms : sequence of callable, optional
        For the training images only.

    Examples
    --------
    >>> import babygrad
    >>> train, test = babygrad.data.mnist5k()
    >>> len(train), len(test)
    (4000, 1000)
    """
    return mnist_folder(Path(__file__).parent / "mnist5k", transforms)


def mnist_folder(
    folder: Filename, transforms: Sequence[Transform] | None = None
) -> tuple[MNISTDataset, MNISTDataset]:
    """The training and test sets of a folder with MNIST's own file names, gzipped or not.

    Both spellings of the names do, `train-images-idx3-ubyte` and `train-images.idx3-ubyte`.

    Raises
    ------
    FileNotFoundError
        When one of the four files is missing.
    ValueError, OSError
        As `parse_mnist`.
    """
    train_images = _find(folder, "train-images", "idx3-ubyte")
    train_labels = _find(folder, "train-labels", "idx1-ubyte")
    test_images = _find(folder, "t10k-images", "idx3-ubyte")
    test_labels = _find(folder, "t10k-labels", "idx1-ubyte")
    train = MNISTDataset(train_images, train_labels, transforms)
    return train, MNISTDataset(test_images, test_labels)


def _find(folder: Filename, part: str, kind: str) -> Path:
    names = [f"{part}{mark}{kind}{end}" for mark in "-." for end in ("", ".gz")]
    for name in names:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise FileNotFoundError(f"{folder}: there is no {' or '.join(names)}")
