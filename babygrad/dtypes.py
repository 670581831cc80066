"""The types that tensors may have, and the one promotion table that every operation follows.

What you can do here: normalise a dtype (`as_dtype`), ask what two operands become (`promote`,
`promote_scalar`) and what true division or a mean turns a dtype into (`float_of`).

numpy's own rules drag float32 up to float64 as soon as an integer array or a numpy scalar joins
in. These do not: a float type never grows because of an integer, and scalars are weak. The table
is applied before an operation reaches its backend, so that it is the same on every device.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

DType = np.dtype[Any]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
FLOAT16 = np.dtype(np.float16)
INT64 = np.dtype(np.int64)
UINT64 = np.dtype(np.uint64)
BOOL = np.dtype(np.bool_)
DEFAULT_FLOAT = FLOAT32

# numpy makes more than one object for a type: unpickled arrays bring their own, and C's `long long`
# is another int64. All of them equal the one here, which is the only one that tensors have.
_NAMES = (
    *("float32", "float64", "int64", "bool", "int32", "uint8"),
    *("float16", "int16", "int8", "uint16", "uint32", "uint64"),
)
NATIVE: dict[DType, DType] = {dtype: dtype for dtype in map(np.dtype, _NAMES)}
_NAMED = dict(zip(_NAMES, NATIVE, strict=True))


def as_dtype(dtype: Any, op: str = "Tensor") -> DType:
    """The numpy dtype that `dtype` names, native in byte order.

    Raises
    ------
    TypeError
        When `dtype` is not a boolean, integer or floating type of at most 64 bits.
    """
    known = _NAMED.get(dtype) if isinstance(dtype, str) else None
    if known is None and isinstance(dtype, np.dtype):
        known = NATIVE.get(dtype)
    if known is not None:
        return known
    try:
        resolved = np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"{op}: dtype {dtype!r} is not known; "
            "use bool, an integer type, float16, float32 or float64"
        ) from None
    if resolved.kind not in "biuf" or resolved.itemsize > 8:
        raise TypeError(
            f"{op}: dtype {resolved} is not supported; "
            "use bool, an integer type, float16, float32 or float64"
        )
    # Tensors have one object for each type, so that `is` compares them.
    return NATIVE[resolved.newbyteorder("=")]


def is_float(dtype: DType) -> bool:
    """Whether gradients can flow through values of this type."""
    return dtype.kind == "f"


@cache
def limits_of(dtype: DType) -> tuple[int, int]:
    """The least and the greatest number of an integer type."""
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def float_of(dtype: DType) -> DType:
    """The type of a division or mean of `dtype`: itself for floats, else the default float."""
    return dtype if dtype.kind == "f" else DEFAULT_FLOAT


@cache
def promote(a: DType, b: DType) -> DType:
    """The type in which an operation on a tensor of type `a` and one of type `b` computes.

    Equal types stay; a float beats every integer whatever their sizes; among floats and among
    integers the wider wins. float16 is for storage: arithmetic on it is done in float32. uint64
    and a signed integer compute in int64, and are refused where a value is too large for it.

    Examples
    --------
    >>> import numpy as np
    >>> promote(np.dtype("float32"), np.dtype("int64"))
    dtype('float32')
    """
    if a.kind == "f" or b.kind == "f":
        floats = [d for d in (a, b) if d.kind == "f"]
        widest = max(floats, key=lambda d: d.itemsize)
        return FLOAT32 if widest == FLOAT16 else NATIVE[widest]
    joined = np.promote_types(a, b)
    # uint64 with a signed type has no integer home in numpy, which answers float64.
    return INT64 if joined.kind == "f" else NATIVE[joined]


@cache
def promote_scalar(dtype: DType, scalar_type: type) -> DType:
    """The type in which a tensor of type `dtype` computes with a weak Python scalar.

    The scalar decides only the kind: an int among bools makes int64, a float among integers or
    bools makes the default float.
    """
    if dtype.kind == "f":
        return FLOAT32 if dtype == FLOAT16 else NATIVE[dtype]
    if scalar_type is float:
        return DEFAULT_FLOAT
    if dtype.kind == "b" and scalar_type is int:
        return INT64
    return NATIVE[dtype]
