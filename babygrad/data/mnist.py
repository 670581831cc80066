"""MNIST: the IDX file format, the dataset, and the 5,000 digits that come with babygrad.

An IDX file is a big-endian header, then the values: a magic number whose last byte is the number
of axes and whose third is the type (8: unsigned byte), the size of each axis, and the bytes.
http://yann.lecun.com/exdb/mnist described it; the files are usually gzipped.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from babygrad.data.dataset import Dataset, Transform, rows, transformed_rows
from babygrad.tensor import NDArray

SIDE = 28
UNSIGNED_BYTE = 8
CHUNK = 1 << 20

Filename = str | Path


def parse_mnist(image_filename: Filename, label_filename: Filename) -> tuple[NDArray, NDArray]:
    """Read images and labels from two IDX files, gzipped or not.

    Returns
    -------
    images : (n, 784) float32
        One image a row, row by row from the top, scaled to [0, 1].
    labels : (n,) uint8

    Raises
    ------
    ValueError
        When a file is no IDX file of images (or labels), is truncated or too long, the images are
        not 28x28, or the counts differ. Nothing is allocated for what a header only promises.
    OSError
        When a file cannot be read.
    """
    images = _read_idx(image_filename, 3, "images")
    labels = _read_idx(label_filename, 1, "labels")
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(
            f"{image_filename}: images are {images.shape[1]}x{images.shape[2]}, not {SIDE}x{SIDE}"
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{image_filename} has {len(images)} images, "
            f"but {label_filename} has {len(labels)} labels"
        )
    flat = images.reshape(len(images), SIDE * SIDE)
    return np.divide(flat, 255, dtype=np.float32), labels


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

    def get_batch(self, indices: NDArray) -> tuple[NDArray, NDArray]:
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

    Raises
    ------
    FileNotFoundError
        When one of the four files is missing.
    ValueError, OSError
        As `parse_mnist`.
    """
    train_images = _find(folder, "train-images-idx3-ubyte")
    train_labels = _find(folder, "train-labels-idx1-ubyte")
    test_images = _find(folder, "t10k-images-idx3-ubyte")
    test_labels = _find(folder, "t10k-labels-idx1-ubyte")
    train = MNISTDataset(train_images, train_labels, transforms)
    return train, MNISTDataset(test_images, test_labels)


def _find(folder: Filename, name: str) -> Path:
    for candidate in (Path(folder) / name, Path(folder) / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{folder}: there is no {name} or {name}.gz")


# ----- The IDX format -----


def _read_idx(filename: Filename, axes: int, what: str) -> NDArray:
    """The bytes of an IDX file as an array with so many axes."""
    try:
        with open(filename, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                return _read_array(filename, raw, axes, what)
            with gzip.open(raw) as unzipped:
                return _read_array(filename, unzipped, axes, what)  # type: ignore[arg-type]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{filename}: the gzip file is damaged ({error})") from None


def _read_array(filename: Filename, file: BinaryIO, axes: int, what: str) -> NDArray:
    header = file.read(4 + 4 * axes)
    magic = bytes([0, 0, UNSIGNED_BYTE, axes])
    if header[:4] != magic:
        raise ValueError(
            f"{filename}: not an IDX file of {what}: it starts with "
            f"{header[:4].hex(' ') or 'nothing'}, not with {magic.hex(' ')}"
        )
    if len(header) < 4 + 4 * axes:
        raise ValueError(f"{filename}: the file ends within its header")
    shape = struct.unpack(f">{axes}I", header[4:])
    promised = math.prod(shape)
    content = _read_at_most(file, promised + 1)
    if len(content) < promised:
        raise ValueError(
            f"{filename}: the header promises {shape[0]} {what} in {promised} bytes, "
            f"the file holds {len(content)}"
        )
    if len(content) > promised:
        raise ValueError(
            f"{filename}: the file goes on after the {shape[0]} {what} that its header promises"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_at_most(file: BinaryIO, count: int) -> bytes:
    """The next `count` bytes or all there are; memory grows with those, not with `count`."""
    chunks = []
    while count > 0 and (chunk := file.read(min(count, CHUNK))):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
