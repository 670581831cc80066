"""Files of weights: `save_file` and `load_file`, in the safetensors format and no other.

A file is written whole or not at all. Reading it cannot run code: a pickle file is refused. The
safetensors package checks the layout (sizes, gaps, overlaps, trailing bytes) before it allocates;
what it lets pass, a key that occurs twice, is checked here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from babygrad._numbers import array_of, checked

NDArray = np.ndarray[Any, Any]
PathLike = str | os.PathLike[str]

_TIED = "tied"  # the metadata key that holds, as JSON, which name is another one's alias
_HEADER_LENGTH = 8  # bytes, little-endian
_PICKLE_PROTOCOLS = range(2, 6)

_DTYPES = {
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


_STORED = ("bfloat16", "float16", "float32", "float64")  # what floats can be written as


def save_file(
    arrays: Mapping[str, Any],
    filename: PathLike,
    metadata: Mapping[str, str] | None = None,
    dtype: str | None = None,
) -> None:
    """Write named arrays to a safetensors file.

    Parameters
    ----------
    arrays : mapping of str to array or Tensor
        In any layout and byte order; they are written in row-major order. An array that occurs
        under several names is written once.
    filename : path
        An existing file is replaced when the new one is complete, and left as it is when anything
        fails on the way.
    metadata : mapping of str to str, optional
    dtype : {"bfloat16", "float16", "float32", "float64"}, optional
        The type in which floating-point arrays are stored; by default each in its own. They are
        rounded to the nearest number, of two as near to the even one. Others stay as they are.

    Raises
    ------
    TypeError
        When a value is no array of numbers or the metadata are not strings.
    ValueError
        When a finite number is too large for `dtype`, or there is no such dtype.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> save_file({"w": np.arange(3.0)}, path)
    >>> load_file(path)
    {'w': array([0., 1., 2.])}
    >>> save_file({"w": np.array([1.001, 300.3])}, path, dtype="bfloat16")
    >>> load_file(path)
    {'w': array([  1., 300.], dtype=float32)}
    """
    from safetensors.numpy import save

    if dtype is not None and dtype not in _STORED:
        raise ValueError(f"save: dtype (={dtype!r}) must be one of {', '.join(_STORED)}")
    written, tied = _untied(arrays)
    rounded = [n for n, array in written.items() if dtype is not None and array.dtype.kind == "f"]
    written |= {name: _rounded(name, written[name], dtype) for name in rounded}
    notes = dict(metadata or {})
    if any(not isinstance(text, str) for pair in notes.items() for text in pair):
        raise TypeError("save: metadata must map strings to strings")
    if tied:
        notes[_TIED] = json.dumps(tied)
    content = save(written, notes or None)
    _replace(Path(filename), _as_bfloat16(content, rounded) if dtype == "bfloat16" else content)


def load_file(filename: PathLike) -> dict[str, NDArray]:
    """Read the arrays of a safetensors file.

    Returns
    -------
    dict of str to array
        bfloat16, which numpy lacks, becomes float32. Names that were tied share one array.

    Raises
    ------
    ValueError
        When the file is damaged or no safetensors file; a pickle file is refused with the reason.
    """
    from safetensors import SafetensorError, deserialize

    content = Path(filename).read_bytes()
    _refuse_pickle(filename, content)
    try:
        found = deserialize(content)  # type: ignore[no-untyped-call]
        header = _header(content)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"load: {filename} is no intact safetensors file: {error}") from None
    arrays = {name: _array(filename, name, entry) for name, entry in found}
    # The package returns them in the order of the hash of their names.
    arrays = {name: arrays[name] for name in header if name in arrays}
    for alias, name in _aliases(filename, header).items():
        if name not in arrays or alias in arrays:
            raise ValueError(f"load: {filename} ties {alias!r} to {name!r}, which does not fit")
        arrays[alias] = arrays[name]
    return arrays


def load_metadata(filename: PathLike) -> dict[str, str]:
    """The metadata that `save_file` was given."""
    with open(filename, "rb") as file:
        length = int.from_bytes(file.read(_HEADER_LENGTH), "little")
        if length > os.path.getsize(filename):
            raise ValueError(f"load: {filename} is shorter than its header claims")
        header = json.loads(file.read(length))
    notes = dict(header.get("__metadata__", {}))
    notes.pop(_TIED, None)
    return notes


def _untied(arrays: Mapping[str, Any]) -> tuple[dict[str, NDArray], dict[str, str]]:
    """The arrays as the format has them, and the names of those that occurred before."""
    written: dict[str, NDArray] = {}
    tied: dict[str, str] = {}
    names: dict[Any, str] = {}
    for name, value in arrays.items():
        given = array_of(value)
        array = np.asarray(given)
        if array.dtype.kind not in "biuf" or array.dtype.newbyteorder("=") not in _DTYPES.values():
            raise TypeError(f"save: {name} has dtype {array.dtype}, which the format does not have")
        checked(f"save: {name}", given)  # a mask would be lost
        first = names.setdefault(_identity(array), name)
        if first != name and array.size:
            tied[name] = first
        else:
            written[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    return written, tied


def _identity(array: NDArray) -> Any:
    """Equal for two arrays exactly when they are the same elements of the same memory."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str


def _rounded(name: str, array: NDArray, dtype: Any) -> NDArray:
    """The nearest values of a type, those of bfloat16 as the upper halves of float32, uint16."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "bfloat16":
            narrow = _upper_halves(array)
            values = _from_upper_halves(narrow)
        else:
            narrow = values = array.astype(dtype)
    if (np.isinf(values) & np.isfinite(array)).any():
        largest = np.abs(array[np.isfinite(array)]).max()
        raise ValueError(f"save: {name} has values up to {largest:.4g}, too large for {dtype}")
    return narrow


def _upper_halves(array: NDArray) -> NDArray:
    """The nearest bfloat16 numbers, ties to even, as uint16."""
    values = array.astype(np.float32)
    bits = values.view(np.uint32)
    # A float64 is rounded twice. An odd last digit after the first time (von Neumann's rounding)
    # keeps the second from taking what is a little off a tie for one.
    inexact = (values != array) & (bits & 1 == 0) & ~np.isnan(array)
    bits = np.where(inexact, np.where(abs(values) < abs(array), bits + 1, bits - 1), bits)
    nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, nearest).astype(np.uint16)


def _from_upper_halves(halves: NDArray) -> NDArray:
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _as_bfloat16(content: bytes, names: list[str]) -> bytes:
    """A file in which uint16 arrays are declared bfloat16, which numpy and so the writer lack."""
    header = _header(content)
    for name in names:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _HEADER_LENGTH)  # the numbers stay aligned
    begin = _HEADER_LENGTH + int.from_bytes(content[:_HEADER_LENGTH], "little")
    return len(text).to_bytes(_HEADER_LENGTH, "little") + text + content[begin:]


def _replace(path: Path, content: bytes) -> None:
    """Write a file beside `path` and move it there when it is safe on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _refuse_pickle(filename: PathLike, content: bytes) -> None:
    """Raise for what pickle, torch.save and numpy.savez write; the last two are zip files."""
    pickled = content[:1] == b"\x80" and content[1:2] and content[1] in _PICKLE_PROTOCOLS
    is_header = content[_HEADER_LENGTH : _HEADER_LENGTH + 1] == b"{"
    if (pickled and not is_header) or content[:4] == b"PK\x03\x04":
        kind = "a pickle file" if pickled else "a zip file, as torch.save writes to hold a pickle"
        raise ValueError(
            f"load: {filename} is {kind}. Unpickling can run any program that its author put in, "
            "so it is not read here; convert it to safetensors where it was made"
        )


def _header(content: bytes) -> dict[str, Any]:
    """The header, of which safetensors has checked all but that no key occurs twice."""

    def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"its header has the key {key!r} twice")
            result[key] = value
        return result

    length = int.from_bytes(content[:_HEADER_LENGTH], "little")
    text = content[_HEADER_LENGTH : _HEADER_LENGTH + length]
    header: dict[str, Any] = json.loads(text, object_pairs_hook=unique)
    return header


def _array(filename: PathLike, name: str, entry: Mapping[str, Any]) -> NDArray:
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise ValueError(
            f"load: {name} in {filename} has the dtype {entry['dtype']}, not supported"
        )
    array: NDArray = np.frombuffer(entry["data"], np.dtype(dtype).newbyteorder("<")).astype(
        dtype, copy=False
    )
    if entry["dtype"] == "BF16":
        array = _from_upper_halves(array)
    return array.reshape(entry["shape"])


def _aliases(filename: PathLike, header: Mapping[str, Any]) -> dict[str, str]:
    notes = header.get("__metadata__", {})
    try:
        tied: dict[str, str] = json.loads(notes.get(_TIED, "{}"))
    except ValueError as error:
        raise ValueError(f"load: {filename} has broken metadata {_TIED!r}: {error}") from None
    return tied
