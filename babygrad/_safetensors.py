"""The safetensors format: a file's header, checked before anything that it promises is believed.

    8 bytes   the header's length, little-endian
    header    JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
    data      the arrays, each in its range of bytes, without gaps

An array is read only when it is asked for, so that one of a type that numpy lacks harms no other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from babygrad import _rounding

NDArray = np.ndarray[Any, Any]

LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
METADATA = "__metadata__"

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "BF16": np.uint16,
}

_MOST_AXES = 64  # of an array of numpy
_LONGEST_NAME = 200  # characters of a name that a message shows


class Entry(NamedTuple):
    """What the header says of one array; its bytes are data[begin:end]."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """A header that has been checked against the size of its file."""

    entries: dict[str, Entry]
    metadata: dict[str, str]
    data: int  # where the data begin


def read_header(file: BinaryIO, size: int) -> Header:
    """The header of a file of `size` bytes.

    Raises
    ------
    ValueError
        With what is wrong, beginning with "its"; nothing that the header claims is allocated.
    """
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    data = LENGTH_BYTES + length
    if size < LENGTH_BYTES:
        raise ValueError(f"its {size} bytes are fewer than the {LENGTH_BYTES} of the length")
    if length > LONGEST_HEADER:
        raise ValueError(
            f"its header claims {length} bytes, more than the {LONGEST_HEADER} the format allows"
        )
    if data > size:
        raise ValueError(f"its header claims {length} bytes, and {size - LENGTH_BYTES} are there")
    header = _parsed(file.read(length))
    metadata = _strings(header.pop(METADATA, {}))
    entries = {name: _entry(name, given) for name, given in header.items()}
    _check_layout(entries, size - data)
    return Header(entries, metadata, data)


def read_array(file: BinaryIO, data: int, entry: Entry) -> NDArray:
    """The array of an entry, in memory of its own; bfloat16 as float32.

    Raises
    ------
    ValueError
        When numpy has no such type or shape, or the file is shorter than it was.
    """
    dtype = DTYPES.get(entry.dtype)
    if dtype is None:
        raise ValueError(f"has the dtype {entry.dtype}, which babygrad does not have")
    if len(entry.shape) > _MOST_AXES:
        raise ValueError(f"has {len(entry.shape)} axes, more than the {_MOST_AXES} of an array")
    content = bytearray(entry.end - entry.begin)
    file.seek(data + entry.begin)
    if file.readinto(content) != len(content):  # type: ignore[attr-defined]
        raise ValueError("ends before its last byte")
    array: NDArray = np.frombuffer(content, np.dtype(dtype).newbyteorder("<"))
    array = array.astype(dtype, copy=False).reshape(entry.shape)
    if entry.dtype == "BOOL" and (array.view(np.uint8) > 1).any():
        raise ValueError("has bytes that are no booleans")
    return _rounding.from_upper_halves(array) if entry.dtype == "BF16" else array


def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no key occurs twice."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"its header has the key {shown(key)} twice")
        result[key] = value
    return result


def shown(name: str) -> str:
    """A name as messages show it."""
    return repr(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "...")


def _parsed(text: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> Any:
        raise ValueError(f"its header has {constant}, which is no JSON")

    if not text.startswith(b"{"):
        raise ValueError("its header does not begin with {")
    try:
        header = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"its header is no JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"its header is no UTF-8: {error}") from None
    except (RecursionError, MemoryError):
        raise ValueError("its header is nested too deeply") from None
    result: dict[str, Any] = header
    return result


def _strings(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"its {METADATA} do not map strings to strings")
    for pair in metadata.items():
        for text in pair:
            _check_text(text)
    return metadata


def _check_text(text: str) -> None:
    """Raise for half of a surrogate pair, which JSON can write and no other text can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"its header has {shown(text)}, which is no Unicode") from None


def _entry(name: str, given: Any) -> Entry:
    _check_text(name)
    try:
        dtype, shape, (begin, end) = given["dtype"], given["shape"], given["data_offsets"]
        plain = all(n.__class__ is int and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError):
        plain = False
    if not plain or not isinstance(dtype, str) or not isinstance(shape, list) or begin > end:
        raise ValueError(
            f"its entry {shown(name)} must have a dtype, a shape of non-negative integers and "
            "two data_offsets in order"
        )
    return Entry(dtype, tuple(shape), begin, end)


def _check_layout(entries: Mapping[str, Entry], size: int) -> None:
    """Raise unless the arrays lie one after the other in `size` bytes, each of its shape."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != position:
            what = "a gap before" if entry.begin > position else "an overlap at"
            raise ValueError(f"its data have {what} {shown(name)}")
        position = entry.end
        if entry.dtype in DTYPES:
            taken = _count(entry.shape, size) * np.dtype(DTYPES[entry.dtype]).itemsize
            if taken != entry.end - entry.begin:
                raise ValueError(
                    f"its entry {shown(name)} has {entry.end - entry.begin} bytes, not those "
                    f"of its shape {list(entry.shape[:8])}"
                )
    if position != size:
        raise ValueError(f"its header describes {position} bytes of data, and {size} are there")


def _count(shape: tuple[int, ...], most: int) -> float:
    """The number of elements; infinity, before the product grows long, when above `most`."""
    if 0 in shape:
        return 0
    count = 1
    for n in shape:
        count *= n
        if count > most:
            return math.inf
    return count
