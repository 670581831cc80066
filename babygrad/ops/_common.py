"""What the operations share: their operands made equal, their sizes made plain."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from babygrad._numbers import as_numbers, plain_number
from babygrad.autograd import Function, NDArray
from babygrad.device import current
from babygrad.dtypes import FLOAT32, FLOAT64, INT64, UINT64, DType, promote, promote_scalar
from babygrad.tensor import Tensor

Scalar = bool | int | float


class Member(Function):
    """A member of the backend, called with the inputs' arrays and then the settings.

    What even the smallest network calls, such as `Add`, is written out: that is a little faster.
    """

    member: str

    def __init__(self, *settings: Any) -> None:
        self.settings = settings

    def forward(self, *arrays: NDArray) -> NDArray:
        result: NDArray = getattr(self.xp, self.member)(*arrays, *self.settings)
        return result


class Discrete(Member):
    """A member whose results have no gradient: a comparison, a test, a position."""

    differentiable = False

    def __init__(self, member: str, *settings: Any) -> None:
        super().__init__(*settings)
        self.member = member


# ----- Operands -----


def operands(op: str, a: Any, b: Any, *, any_number: bool = False) -> tuple[Tensor, Any]:
    """Two operands of one dtype that broadcast: a Tensor, and a Tensor or a weak scalar.

    Python numbers, numpy scalars and 0-d arrays are weak: they take the tensor's type. Other
    arrays and lists become tensors on the device of the operand that is one. `any_number` is for
    operations that give a meaning to a scalar which the tensor's type does not have, and to uint64
    beside int64, which then stay as they are: there is no integer type for the values of both.

    Raises
    ------
    ValueError
        When the shapes do not broadcast, or a number does not fit the integer type to compute in.
    TypeError
        When an operand is no tensor, array, list or number.
    """
    if not isinstance(a, Tensor):
        a = lifted(op, a, b)
    if not isinstance(b, Tensor):
        if b.__class__ is not float and b.__class__ is not int:
            b = weak(b)
        kind: Any = b.__class__
        if kind in (int, float, bool):
            dtype = a._data.dtype
            if dtype is FLOAT32 or dtype is FLOAT64:
                return a, b
            wanted = promote_scalar(dtype, kind)
            if not any_number:
                check_fits(op, b, wanted)
            return a.astype(wanted), b
        b = lifted(op, b, a)
    left, right = a._data, b._data
    if left.dtype is not right.dtype:
        wanted = promote(left.dtype, right.dtype)
        if not any_number or wanted is not INT64:
            a, b = _cast(op, a, wanted), _cast(op, b, wanted)
        else:
            a, b = (t if t._data.dtype is UINT64 else t.astype(INT64) for t in (a, b))
    if left.shape != right.shape:
        broadcast_shape(op, left.shape, right.shape)
    return a, b


def pair(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """`operands` for operations that have no form of their own for a scalar."""
    a, b = operands(op, a, b)
    return a, (b if isinstance(b, Tensor) else lifted(op, b, a))


def promoted(op: str, *values: Any) -> list[Tensor]:
    """Tensors of one dtype, whose shapes the operation has rules of its own for."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) < len(values):
        beside = tensors[0] if tensors else None
        tensors = [lifted(op, value, beside) for value in values]
    wanted = tensors[0]._data.dtype
    for tensor in tensors:
        wanted = promote(wanted, tensor._data.dtype)
    return [t if t._data.dtype is wanted else _cast(op, t, wanted) for t in tensors]


def _cast(op: str, tensor: Tensor, wanted: DType) -> Tensor:
    """The tensor in the type to compute in; raises unless int64 has all values of a uint64."""
    data = tensor._data
    if wanted is INT64 and data.dtype is UINT64 and data.size:
        largest = int(tensor._device.backend.max(data))
        if largest >> 63:
            raise ValueError(
                f"{op}: the number {largest} of a uint64 tensor does not fit int64, in which "
                "uint64 and signed integers compute; cast one of them with astype"
            )
    return tensor.astype(wanted)


def weak(value: Any) -> Any:
    """A Python number from a numpy scalar or a 0-d array; anything else as it is."""
    if getattr(value, "ndim", None) == 0 and not isinstance(value, Tensor):
        return plain_number(value)
    return value


def number(op: str, role: str, value: Any) -> Scalar:
    """A Python number from anything that is one: a number, a numpy scalar, a 0-d array or tensor.

    Raises
    ------
    TypeError
        When it is none; numpy would fill with the digits of a text, and with NaN for None.
    """
    if value.__class__ is float or value.__class__ is int:
        return value
    plain = weak(value.__array__() if isinstance(value, Tensor) else value)
    if not isinstance(plain, Scalar):
        raise TypeError(f"{op}: {role} (={value!r}) must be a number")
    return plain


def lifted(op: str, value: Any, beside: Any = None) -> Tensor:
    """A Tensor from a number, array or list, on the device of the tensor beside it."""
    if isinstance(value, Tensor):
        return value
    value = weak(value)
    kind: Any = value.__class__
    if kind in (int, float, bool):
        if isinstance(beside, Tensor):
            dtype = promote_scalar(beside._data.dtype, kind)
            check_fits(op, value, dtype)
            return like(beside._device.backend.full((), value, dtype), beside)
        return Tensor(value)
    if not isinstance(value, NDArray | list | tuple):
        raise TypeError(f"{op}: an operand is a {type(value).__name__}, not a tensor or number")
    device = beside._device if isinstance(beside, Tensor) else current()
    return Tensor._wrap(as_numbers(op, value, copy=True), device)


def check_fits(op: str, value: Any, dtype: DType) -> None:
    """Raise unless an integer is one of the integer type that it is computed with in."""
    if value.__class__ is int and dtype.kind in "iu":
        numbers = 1 << 8 * dtype.itemsize
        low = -numbers // 2 if dtype.kind == "i" else 0
        if not low <= value < low + numbers:
            raise ValueError(
                f"{op}: the number {value} does not fit the tensor's type {dtype}, which has "
                f"{low} to {low + numbers - 1}; cast the tensor to a larger type"
            )


def floating(op: str, a: Any) -> Tensor:
    """The operand of an operation that has only real results: integers become float32."""
    tensor = a if isinstance(a, Tensor) else lifted(op, a)
    return tensor if tensor._data.dtype.kind == "f" else tensor.astype(FLOAT32)


@lru_cache(maxsize=4096)
def broadcast_shape(op: str, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `a` and `b` broadcast to.

    Raises
    ------
    ValueError
        When they do not; the message names the axis that disagrees.
    """
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    result = list(longer)
    for axis in range(-1, -len(shorter) - 1, -1):
        n, m = longer[axis], shorter[axis]
        if n != m and n != 1 and m != 1:
            raise ValueError(
                f"{op}: shapes {a} and {b} do not broadcast: "
                f"axis {axis} has sizes {a[axis]} and {b[axis]}, which must be equal or 1"
            )
        result[axis] = m if n == 1 else n
    return tuple(result)


def like(array: NDArray, tensor: Any) -> Tensor:
    """A tensor without history around an array, on the device of another tensor or node."""
    return Tensor._wrap(array, tensor._device)


# ----- Sizes -----


def whole(op: str, role: str, value: Any) -> int:
    """An int from anything that is one: a Python or numpy integer, an integer tensor."""
    try:
        return int(value.__index__())
    except (AttributeError, TypeError):
        raise TypeError(f"{op}: {role} (={value!r}) must be an integer") from None


def sizes_of(op: str, shape: Any) -> tuple[int, ...]:
    """A tuple of ints from a shape given as an int, a tuple or a list."""
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    return tuple([n if n.__class__ is int else whole(op, "a size", n) for n in sizes])
