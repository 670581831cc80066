"""Files of weights: `save_file` and `load_file`, in the safetensors format and no other.

A file is written whole or not at all. Reading it cannot run code: a pickle file is refused. What a
file holds is what its header says, and that is checked before anything is allocated. Arrays are
taken as they are: which layout they are in, babygrad's or another library's, no file shows by its
shapes. `Module.load` refuses a file that says itself that it is PyTorch's for a layer whose layout
is another.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from babygrad import _files, _rounding, _safetensors
from babygrad._numbers import array_of, checked
from babygrad._safetensors import NDArray

PathLike = str | os.PathLike[str]

_OWN = "babygrad."  # begins the metadata keys that are babygrad's own
_FORMAT = _OWN + "format"  # in every file that is written here
_TIED = _OWN + "tied"  # holds, as JSON, which name is another one's alias
_OLD_TIED = "tied"  # its name in files without _FORMAT
_PICKLE_PROTOCOLS = range(2, 6)

_WRITTEN = tuple(_safetensors.DTYPES.values())
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
        Notes that `load_metadata` returns. Keys that begin with "babygrad." are babygrad's own.
    dtype : {"bfloat16", "float16", "float32", "float64"}, optional
        The type in which floating-point arrays are stored; by default each in its own. They are
        rounded to the nearest number, of two as near to the even one. Others stay as they are.

    Raises
    ------
    TypeError
        When `arrays` is no mapping, a value is no array of numbers, or a name or the metadata are
        not strings.
    ValueError
        When a finite number is too large for `dtype`, there is no such dtype, or a name or the
        metadata are such that no file could hold them.
    OSError
        When the file cannot be written.

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
    if dtype is not None and dtype not in _STORED:
        raise ValueError(f"save: dtype (={dtype!r}) must be one of {', '.join(_STORED)}")
    if not isinstance(arrays, Mapping):
        raise TypeError(
            f"save: arrays must map names to arrays; they are a {type(arrays).__name__}"
        )
    notes = _checked(metadata)
    written, tied = _untied(arrays)
    rounded = [n for n, array in written.items() if dtype is not None and array.dtype.kind == "f"]
    written |= {name: _rounding.rounded(name, written[name], dtype) for name in rounded}
    notes[_FORMAT] = "1"
    if tied:
        notes[_TIED] = json.dumps(tied)
    content = _content(written, notes, rounded if dtype == "bfloat16" else [])
    _files.replace(Path(filename), content)


def load_file(filename: PathLike, names: Iterable[str] | None = None) -> dict[str, NDArray]:
    """Read the arrays of a safetensors file.

    Parameters
    ----------
    filename : path
    names : iterable of str, optional
        Those to read, by default all. Others may be of any type, and cost no memory.

    Returns
    -------
    dict of str to array
        bfloat16, which numpy lacks, becomes float32. Names that were tied share one array.

    Raises
    ------
    ValueError
        When the file is damaged or no safetensors file, or one of the arrays has a type that
        babygrad lacks (8-bit floats, complex numbers); a pickle file is refused with the reason.
    KeyError
        When there is none of a name.
    OSError
        When the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> save_file({"w": np.arange(3.0), "ids": np.arange(2)}, path)
    >>> load_file(path, ["ids"])
    {'ids': array([0, 1])}
    """
    with Archive(filename) as archive:
        wanted = list(archive if names is None else names)
        owners = [archive.owner(name) for name in wanted]
        arrays = {owner: archive[owner] for owner in dict.fromkeys(owners)}
        return {name: arrays[owner] for name, owner in zip(wanted, owners, strict=True)}


def load_metadata(filename: PathLike) -> dict[str, str]:
    """The metadata that `save_file` was given, or that another library wrote.

    Raises
    ------
    ValueError, OSError
        See `load_file`.
    """
    with Archive(filename) as archive:
        return archive.metadata


class Archive(Mapping[str, NDArray]):
    """The arrays of a safetensors file by name, each read when it is asked for.

    Parameters
    ----------
    filename : path
        A file that stays open until the archive, a context manager, is left.

    Attributes
    ----------
    filename : path
    metadata : dict of str to str
        Without babygrad's own.
    is_pytorch : bool
        Whether the file says that it was written from PyTorch's layouts.

    Raises
    ------
    ValueError, OSError
        See `load_file`.
    """

    def __init__(self, filename: PathLike) -> None:
        self.filename = filename
        status = os.stat(filename)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise ValueError(f"load: {filename} is no regular file")
        self._file = open(filename, "rb")  # noqa: SIM115 - closed by `close`
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        _refuse_pickle(self.filename, self._file.read(_safetensors.LENGTH_BYTES + 1))
        self._file.seek(0)
        size = os.fstat(self._file.fileno()).st_size
        try:
            header = _safetensors.read_header(self._file, size)
        except ValueError as error:
            raise ValueError(
                f"load: {self.filename} is no intact safetensors file: {error}"
            ) from None
        self._entries = header.entries
        self._begin = header.data
        notes = header.metadata
        own = _FORMAT in notes
        self._aliases = self._own_ties(notes) if own else self._old_ties(notes)
        self.is_pytorch = not own and notes.get("format") == "pt"
        self.metadata = {
            key: text
            for key, text in notes.items()
            if not (key.startswith(_OWN) if own else key == _OLD_TIED and self._aliases)
        }

    def _own_ties(self, notes: Mapping[str, str]) -> dict[str, str]:
        try:
            return _aliases(notes.get(_TIED, "{}"), self._entries)
        except ValueError as error:
            raise ValueError(
                f"load: {self.filename} has broken metadata {_TIED!r}: {error}"
            ) from None

    def _old_ties(self, notes: Mapping[str, str]) -> dict[str, str]:
        """The ties of an old file; in one of another library the key may mean anything."""
        try:
            return _aliases(notes.get(_OLD_TIED, "{}"), self._entries)
        except ValueError:
            return {}

    def owner(self, name: str) -> str:
        """The name that an array is stored under, which ties give other names."""
        return self._aliases.get(name, name)

    def __getitem__(self, name: str) -> NDArray:
        entry = self._entries[self.owner(name)]
        try:
            return _safetensors.read_array(self._file, self._begin, entry)
        except ValueError as error:
            shown = _safetensors.shown(name)
            raise ValueError(f"load: {shown} in {self.filename} {error}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from self._aliases

    def __len__(self) -> int:
        return len(self._entries) + len(self._aliases)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _checked(metadata: Any) -> dict[str, str]:
    """A copy of metadata that a file can hold."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise TypeError(
            f"save: metadata must map strings to strings; it is a {type(metadata).__name__}"
        )
    notes = dict(metadata or {})
    for key, text in notes.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata must map strings to strings, not {key!r} to {text!r}")
        if key.startswith(_OWN):
            raise ValueError(
                f"save: metadata has the key {key!r}; those that begin with {_OWN!r} are "
                "babygrad's own"
            )
        _check_text("metadata", key)
        _check_text("metadata", text)
    return notes


def _check_text(role: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"save: {role} {text!r} has half a surrogate pair, no character") from None


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"save: the name {name!r} is a {type(name).__name__}, not a string")
    if name == _safetensors.METADATA:
        raise ValueError(f"save: the name {name!r} is the format's own")
    _check_text("the name", name)


def _content(written: dict[str, NDArray], notes: dict[str, str], halves: list[str]) -> bytes:
    """The bytes of a file; `halves` names the arrays of uint16 that are bfloat16."""
    from safetensors import SafetensorError
    from safetensors.numpy import save

    try:
        content = save(written, notes)
    except SafetensorError as error:  # of what has passed the checks, a header that is too long
        raise ValueError(f"save: the format cannot hold the names and metadata: {error}") from None
    if halves:
        content = _as_bfloat16(content, halves)
    length = int.from_bytes(content[: _safetensors.LENGTH_BYTES], "little")
    if length > _safetensors.LONGEST_HEADER:
        raise ValueError(
            f"save: names and metadata take {length} bytes, more than the "
            f"{_safetensors.LONGEST_HEADER} the format allows"
        )
    return content


def _untied(arrays: Mapping[str, Any]) -> tuple[dict[str, NDArray], dict[str, str]]:
    """The arrays as the format has them, and the names of those that occurred before."""
    written: dict[str, NDArray] = {}
    tied: dict[str, str] = {}
    names: dict[Any, str] = {}
    for name, value in arrays.items():
        _check_name(name)
        array = checked(f"save: {name}", array_of(value))
        if array.dtype.newbyteorder("=") not in _WRITTEN:
            raise TypeError(f"save: {name} has dtype {array.dtype}, which the format does not have")
        first = names.setdefault(_identity(array), name)
        if first != name and array.size:
            tied[name] = first
        else:
            written[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    return written, tied


def _identity(array: NDArray) -> Any:
    """Equal for two arrays exactly when they are the same elements of the same memory."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str


def _as_bfloat16(content: bytes, names: list[str]) -> bytes:
    """A file in which uint16 arrays are declared bfloat16, which numpy and so the writer lack."""
    header = _header(content)
    for name in names:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _safetensors.LENGTH_BYTES)  # the numbers stay aligned
    begin = _safetensors.LENGTH_BYTES + int.from_bytes(
        content[: _safetensors.LENGTH_BYTES], "little"
    )
    return len(text).to_bytes(_safetensors.LENGTH_BYTES, "little") + text + content[begin:]


def _refuse_pickle(filename: PathLike, content: bytes) -> None:
    """Raise for what pickle, torch.save and numpy.savez write; the last two are zip files."""
    pickled = content[:1] == b"\x80" and content[1:2] and content[1] in _PICKLE_PROTOCOLS
    is_header = content[_safetensors.LENGTH_BYTES : _safetensors.LENGTH_BYTES + 1] == b"{"
    if (pickled and not is_header) or content[:4] == b"PK\x03\x04":
        kind = "a pickle file" if pickled else "a zip file, as torch.save writes to hold a pickle"
        raise ValueError(
            f"load: {filename} is {kind}. Unpickling can run any program that its author put in, "
            "so it is not read here; convert it to safetensors where it was made"
        )


def _header(content: bytes) -> dict[str, Any]:
    """The header of what safetensors wrote."""
    length = int.from_bytes(content[: _safetensors.LENGTH_BYTES], "little")
    header: dict[str, Any] = json.loads(
        content[_safetensors.LENGTH_BYTES : _safetensors.LENGTH_BYTES + length]
    )
    return header


def _aliases(text: str, entries: Mapping[str, Any]) -> dict[str, str]:
    """The names that a file gives a second time, each with the one that its array has.

    Raises
    ------
    ValueError
        When `text` is no JSON that maps new names to names of `entries`.
    """
    try:
        tied = json.loads(text, object_pairs_hook=_safetensors.unique)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not isinstance(tied, dict) or not all(isinstance(name, str) for name in tied.values()):
        raise ValueError("they must map names to names")
    for alias, name in tied.items():
        if name not in entries or alias in entries:
            raise ValueError(f"they tie {alias!r} to {name!r}, which does not fit")
    return tied
