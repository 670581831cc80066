"""The door: what may come in as the values of a tensor, by one rule for all ways in.

The constructor, `nn.Parameter`, `from_numpy`, operands, `.data`, `.grad`, datasets and states all
ask here. Real numbers come in: bools, integers and floats of Python, of numpy, and of whatever
numpy can read as an array. The rest is refused with what to do instead. numpy itself would make
numbers of it in silence: NaN of None, days since 1970 of a date, the real part of a complex number.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from babygrad.dtypes import FLOAT32, FLOAT64, NATIVE, DType, as_dtype

NDArray = np.ndarray

# The elements of most lists, which need no second look.
_PLAIN = {bool, int, float, *(dtype.type for dtype in NATIVE)}
_LISTS = list, tuple
_OF_NUMPY = np.ndarray, np.generic

_LARGEST_HALF = 65504.0  # of float16, and no floating type has a smaller largest number

_TEXT = "convert text with float(), an array of it with .astype(float)"
_RECORDS = "take its fields one by one, as array['name']"
_OBJECTS = "convert each element with float(), an array of them with .astype(float)"
_WAYS_OUT = {
    "U": _TEXT,
    "T": _TEXT,
    "S": _TEXT,
    "V": _RECORDS,
    "O": _OBJECTS,
    "c": "take its real and its imaginary part, or the magnitude",
    "M": "count from a first date, as (dates - dates[0]) / numpy.timedelta64(1, 'D')",
    "m": "divide by a unit of time, as numpy.timedelta64(1, 's')",
}


def checked(door: str, value: Any) -> NDArray:
    """The array that numpy reads in `value`, itself if it is one.

    Raises
    ------
    TypeError
        When there is anything but real numbers in it: text, bytes, dates, None, objects, complex
        numbers, records, masked elements, rows of different lengths. The message begins with
        `door`, where the value came in.
    """
    if type(value) is NDArray:
        array = value
    else:
        if any(issubclass(leaf, _masked_array()) for leaf in _leaf_types(value)):
            raise _refusal(door, value, "fill its masked elements, as with .filled(0)")
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise _refusal(door, value, _reason(error)) from None
    if array.dtype.kind in "biuf" or _is_foreign_float(array.dtype):
        return array
    if type(None) in _leaf_types(value):
        raise _refusal(door, value, "put nan where a number is missing")
    raise _refusal(door, value, _WAYS_OUT.get(array.dtype.kind, _OBJECTS))


def as_numbers(door: str, value: Any, dtype: Any = None, *, copy: bool = False) -> NDArray:
    """The numbers of `value` in an array that kernels take: aligned, with a dtype of `NATIVE`.

    Parameters
    ----------
    door : str
        Where the value came in, for the message.
    value : array, number or nested list
    dtype : str or dtype, optional
        None keeps the type of numpy's arrays and scalars; everything else becomes float32.
    copy : bool
        Whether the array must be a private one; otherwise memory is shared where it can be.

    Raises
    ------
    TypeError
        As `checked` does, and for a type that tensors do not have.
    ValueError
        When one of Python's numbers is beyond the range of the type.
    """
    kind: Any = type(value)
    source = value
    if kind is NDArray and value.dtype is dtype and not copy and value.flags.aligned:
        given: NDArray = value
        return given
    if kind not in _PLAIN and not (kind in _LISTS and _is_plain(value)):
        array = checked(door, value)
        # numpy refuses what overflows while it reads a list, not when it casts an array.
        source = value if isinstance(value, _LISTS) else array
    if dtype is None:
        dtype = value.dtype if isinstance(value, _OF_NUMPY) else FLOAT32
    wanted = as_dtype(dtype, door)
    read = np.array if _fits(source, wanted) else _read_quietly
    try:
        array = read(source, wanted, copy=copy or None, subok=False)
    except OverflowError as error:
        raise ValueError(f"{door}: a number does not fit the type {wanted}: {error}") from None
    except (TypeError, ValueError) as error:
        raise _refusal(door, value, _reason(error)) from None
    if not array.flags.aligned:
        array = array.copy()
    # For numpy an equal dtype will do, but here it must be the same object.
    return array if array.dtype is wanted else array.view(wanted)


# A number that its type does not hold becomes infinite, without a warning of numpy's.
_read_quietly: Any = np.errstate(over="ignore", invalid="ignore")(np.array)


def _fits(source: Any, wanted: DType) -> bool:
    """Whether it is plain that no number overflows; to look closer would cost more."""
    kind: Any = type(source)
    if kind is NDArray:
        return source.dtype is wanted or wanted is FLOAT64
    return kind is float and wanted.kind == "f" and -_LARGEST_HALF <= source <= _LARGEST_HALF


def unpickled(array: NDArray) -> NDArray:
    """A writable array with a dtype of tensors: joblib's are mapped files that only can be read."""
    return as_numbers("unpickled", array, copy=not array.flags.writeable)


def exchanged(source: Any) -> NDArray:
    """The array that shares the memory of an object with `__dlpack__`."""
    if isinstance(source, np.ndarray):
        return checked("from_dlpack", source)
    if not hasattr(source, "__dlpack__"):
        raise TypeError(
            f"from_dlpack: a {type(source).__name__} has no __dlpack__; Tensor(data) takes lists "
            "and numbers"
        )
    try:
        array: NDArray = np.from_dlpack(source)
    except (BufferError, RuntimeError) as error:
        raise TypeError(
            f"from_dlpack: a {type(source).__name__} cannot be shared ({error})"
        ) from error
    return array


def array_of(value: Any) -> Any:
    """The array of a Tensor, not copied; anything else as it is."""
    return value._data if hasattr(value, "_requires_grad") else value


def plain_number(value: Any) -> Any:
    """The Python number in a numpy scalar or 0-d array of numbers; anything else as it is."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    return value if kind not in "biuf" or isinstance(value, _masked_array()) else value.item()


def _is_plain(values: Any) -> bool:
    """Whether a list holds nothing but plain numbers, or lists of them."""
    kinds = set(map(type, values))
    return kinds <= _PLAIN or (kinds.issubset(_LISTS) and all(map(_is_plain, values)))


def _leaf_types(value: Any) -> set[type]:
    """The types of the elements of nested lists, or of the value itself if it is none."""
    if not isinstance(value, _LISTS):
        return {type(value)}
    kinds = set(map(type, value))
    return kinds if kinds.isdisjoint(_LISTS) else set().union(*map(_leaf_types, value))


def _masked_array() -> Any:
    """numpy's class of masked arrays; nothing when it was never imported, so that none exist."""
    return getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())


def _is_foreign_float(dtype: DType) -> bool:
    """Whether it is a small float of another package, such as ml_dtypes' bfloat16."""
    is_record = issubclass(dtype.type, np.void)
    return dtype.kind == "V" and not is_record and np.can_cast(dtype, np.float64)


def _refusal(door: str, value: Any, way_out: str) -> TypeError:
    return TypeError(
        f"{door}: data of type {_described(value)} is not an array of numbers; {way_out}"
    )


def _reason(error: Exception) -> str:
    """What numpy says, but for the most frequent fault."""
    return "its rows must have one length" if "inhomogeneous" in str(error) else str(error)


def _described(value: Any) -> str:
    if isinstance(value, _LISTS):
        foreign = sorted(kind.__name__ for kind in _leaf_types(value) - _PLAIN)
        contents = f" with {' and '.join(foreign)} in it" if foreign else ""
        return f"{type(value).__name__}{contents}"
    if isinstance(value, NDArray) and not isinstance(value, _masked_array()):
        return str(value.dtype)
    return type(value).__name__
