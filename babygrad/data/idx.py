"""The IDX file format, in which MNIST and its relatives are published.

A file is a big-endian header, then the values: two zero bytes, a byte for the type, one for the
number of axes, the size of each axis in four bytes, and the values in their own big-endian bytes.
http://yann.lecun.com/exdb/mnist described it; the files are usually gzipped.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from babygrad.tensor import NDArray

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CHUNK = 1 << 20

Filename = str | Path


def read_idx(filename: Filename, axes: int, what: str) -> NDArray:
    """The values of an IDX file, gzipped or not, in their own type and the machine's byte order.

    Parameters
    ----------
    axes : int
        How many there must be.
    what : str
        What the file is to hold, for errors.

    Raises
    ------
    ValueError
        When the file has another format or number of axes, is truncated or too long. Nothing is
        allocated for what a header only promises.
    OSError
        When it cannot be read.
    """
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
    start = header[:4].hex(" ") or "nothing"
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in TYPES or header[3] != axes:
        types = ", ".join(f"{code:02x}" for code in TYPES)
        raise ValueError(
            f"{filename}: not an IDX file of {what}: it starts with {start}, "
            f"not with 00 00, a type (one of {types}) and {axes:02x}"
        )
    if len(header) < 4 + 4 * axes:
        raise ValueError(f"{filename}: the file ends within its header")
    dtype = np.dtype(TYPES[header[2]])
    shape = struct.unpack(f">{axes}I", header[4:])
    promised = math.prod(shape) * dtype.itemsize
    content = _read_at_most(file, promised + 1)
    if len(content) < promised:
        raise ValueError(
            f"{filename}: not an IDX file of {what}: after {start}, the header promises {shape[0]} "
            f"{what} in {promised} bytes, the file holds {len(content)}"
        )
    if len(content) > promised:
        raise ValueError(
            f"{filename}: the file goes on after the {shape[0]} {what} that its header promises"
        )
    if math.prod(filter(None, shape)) * dtype.itemsize > np.iinfo(np.intp).max:
        # numpy makes no such array, not even one that an axis of size 0 leaves empty.
        raise ValueError(f"{filename}: not an IDX file of {what}: no array has the shape {shape}")
    values = np.frombuffer(content, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read_at_most(file: BinaryIO, count: int) -> bytes:
    """The next `count` bytes or all there are; memory grows with those, not with `count`."""
    chunks = []
    while count > 0 and (chunk := file.read(min(count, CHUNK))):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
