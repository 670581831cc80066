"""CIFAR-10, read from its own pickled batches without trusting them.

A pickle may name any function for the reader to call. Those of CIFAR-10 need three: numpy's way to
remake an array, its dtype, and Latin-1 text as bytes. The unpickler here knows stand-ins for these,
which can make nothing but arrays of bytes, and refuses every other name.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from babygrad.data.dataset import Dataset, Transform, rows, transformed_rows
from babygrad.tensor import NDArray

SHAPE = (3, 32, 32)
CLASSES = 10
TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCHES = ("test_batch",)


class CIFAR10Dataset(Dataset):
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
        names = TRAIN_BATCHES if train else TEST_BATCHES
        batches = [_read_batch(Path(base_folder) / name) for name in names]
        stored = np.concatenate([images for images, _ in batches])
        # (n, 3 * 32 * 32) -> (n, 32, 32, 3)
        images = np.ascontiguousarray(stored.reshape(-1, *SHAPE).transpose(0, 2, 3, 1))
        self.images = np.divide(images, 255, dtype=np.float32)
        self.labels = np.concatenate([labels for _, labels in batches])

    def __getitem__(self, index: int) -> tuple[NDArray, int]:
        image = self.apply_transforms(self.images[index].copy())
        return image.transpose(2, 0, 1), int(self.labels[index])

    def __len__(self) -> int:
        return len(self.images)

    def get_batch(self, indices: NDArray) -> tuple[NDArray, NDArray]:
        """The (k, 3, 32, 32) images at `indices`, after the transforms, and their labels."""
        images = transformed_rows(self, self.images, indices)
        return images.transpose(0, 3, 1, 2), rows(self.labels, indices)


def _read_batch(filename: Path) -> tuple[NDArray, NDArray]:
    """The (n, 3072) uint8 images and (n,) int64 labels of one file."""
    with open(filename, "rb") as file:
        try:
            batch = _Unpickler(file, encoding="bytes").load()
        # A damaged pickle fails in many ways: these are what the unpickler's opcodes raise.
        except (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError) as error:
            raise _refused(filename, f"{type(error).__name__}: {error}") from None
        except (pickle.UnpicklingError, TypeError, ValueError) as error:
            raise _refused(filename, str(error)) from None
    if not isinstance(batch, dict):
        raise _refused(filename, f"it holds a {type(batch).__name__}, not a dict")
    images, labels = (batch.get(name, batch.get(name.decode())) for name in (b"data", b"labels"))
    if not isinstance(images, _ByteArray) or not isinstance(labels, list):
        raise _refused(filename, "it has no array 'data' and list 'labels'")
    if images.array.ndim != 2 or images.array.shape[1] != math.prod(SHAPE):
        raise _refused(filename, f"its data has shape {images.array.shape}, not (n, 3072)")
    if len(labels) != len(images.array):
        raise _refused(filename, f"{len(images.array)} images, but {len(labels)} labels")
    for i, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label < CLASSES:
            raise _refused(filename, f"label {i} (={label!r}) is no integer of 0 to {CLASSES - 1}")
    return images.array, np.array(labels, np.int64)


def _refused(filename: Path, reason: str) -> ValueError:
    return ValueError(f"{filename}: not a batch of CIFAR-10: {reason}")


# ----- What stands in for numpy's own classes in the pickle -----


class _Uint8:
    """Stands in for numpy.dtype: the only type there is."""

    def __init__(self, name: Any, *_: Any) -> None:
        if name not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of type {name!r}, not of bytes")

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment of single bytes are of no consequence."""


class _ByteArray:
    """Stands in for numpy.ndarray: filled by its state, from bytes that are in the file."""

    array: NDArray = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.fill(content, dtype, shape, "F" if fortran else "C")

    def fill(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        if not isinstance(dtype, _Uint8) or not isinstance(content, bytes | bytearray):
            raise pickle.UnpicklingError("an array that is not of bytes")
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order=order)


def _reconstruct(cls: Any, *_: Any) -> _ByteArray:
    """What numpy calls _reconstruct: an array that its state will fill."""
    if cls is not _ByteArray:
        raise pickle.UnpicklingError("an array of another class than numpy.ndarray")
    return _ByteArray()


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> _ByteArray:
    """What numpy calls _frombuffer, which pickles of protocol 5 call."""
    array = _ByteArray()
    array.fill(content, dtype, shape, order)
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    """_codecs.encode, by which Python 3 writes bytes into a pickle of protocol 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"text to be encoded as {encoding!r}")
    return text.encode("latin1")


STAND_INS = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Uint8,
    ("numpy", "ndarray"): _ByteArray,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
        return STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to an object outside of the file")
