"""The reference backend: numpy's functions under the interface's names.

A ufunc is stored as it is: builtins do not bind as methods, so ``xp.add(a, b)`` reaches numpy with
no Python frame between. Functions with a singular point (``log``, ``divide``, ...) run with
numpy's floating-point warnings off, as on every other device; that costs about 1 us a call, so
``add``, ``multiply`` and their like go without, and keep numpy's warning on overflow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from babygrad.backends.aliases import Array, Axis, DType, Index, Operand, Pair, Scalar, Shape
from babygrad.backends.base import Backend, composed_members
from babygrad.backends.erf import erf

# numpy's stubs type each function more narrowly than the interface that it stands in for here.
_np: Any = np


def quiet(function: Callable[..., Any]) -> Any:
    """The function with IEEE results in place of warnings; it takes no ``self``."""
    return staticmethod(np.errstate(all="ignore")(function))


def keeping_integers(ufunc: Any) -> Any:
    """The ufunc with integers and bools as they are, of which numpy before 2.1 makes floats."""
    if ufunc(np.int8(0)).dtype == np.int8:
        return ufunc

    def member(x: Array) -> Array:
        return np.asarray(ufunc(x) if x.dtype.kind == "f" else x.copy("K"))

    return staticmethod(member)


def _quiet_definition(definition: Callable[..., Any]) -> Callable[..., Any]:
    """A composed definition without warnings, whose 0-d result is an array, not a numpy scalar."""

    @functools.wraps(definition)
    def member(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            result = definition(*args, **kwargs)
        return np.asarray(result) if isinstance(result, np.generic) else result

    return member


class NumpyBackend(Backend):
    """Every required member by numpy; every composed member by its definition."""

    zeros = staticmethod(_np.zeros)
    ones = staticmethod(_np.ones)
    full = staticmethod(_np.full)
    empty = staticmethod(_np.empty)
    eye = staticmethod(_np.eye)
    arange = staticmethod(_np.arange)

    # ----- Elementwise -----

    negative = _np.negative
    abs = _np.absolute
    sign = _np.sign
    square = _np.square
    tanh = _np.tanh
    floor = keeping_integers(_np.floor)
    ceil = keeping_integers(_np.ceil)
    round = staticmethod(_np.round)
    isnan = _np.isnan
    isinf = _np.isinf
    isfinite = _np.isfinite
    logical_not = _np.logical_not

    sqrt = quiet(_np.sqrt)
    exp = quiet(_np.exp)
    expm1 = quiet(_np.expm1)
    log = quiet(_np.log)
    log1p = quiet(_np.log1p)
    log2 = quiet(_np.log2)
    sin = quiet(_np.sin)
    cos = quiet(_np.cos)
    tan = quiet(_np.tan)
    sinh = quiet(_np.sinh)
    cosh = quiet(_np.cosh)
    reciprocal = quiet(_np.reciprocal)
    erf = quiet(erf)

    add = _np.add
    subtract = _np.subtract
    multiply = _np.multiply
    maximum = _np.maximum
    minimum = _np.minimum
    equal = _np.equal
    not_equal = _np.not_equal
    less = _np.less
    less_equal = _np.less_equal
    greater = _np.greater
    greater_equal = _np.greater_equal
    logical_and = _np.logical_and
    logical_or = _np.logical_or
    bitwise_and = _np.bitwise_and
    bitwise_or = _np.bitwise_or
    bitwise_xor = _np.bitwise_xor
    bitwise_invert = _np.invert
    bitwise_left_shift = _np.left_shift
    bitwise_right_shift = _np.right_shift

    divide = quiet(_np.true_divide)
    floor_divide = quiet(_np.floor_divide)
    remainder = quiet(_np.remainder)
    pow = quiet(_np.power)

    where = staticmethod(_np.where)
    clip = staticmethod(_np.clip)

    # ----- Reductions -----

    def sum(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        # numpy adds pairwise along the innermost axis only; along any other it keeps one running
        # sum, which in float32 stops growing at 2 ** 24.
        if x.dtype == np.float32:
            return _reduce(np.add, x, axis, keepdims, np.float64, np.float32)
        return _reduce(np.add, x, axis, keepdims, _whole(x))

    def prod(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        # Of 1e30, 1e30 and 0 a running product in float32 is infinite before it meets the 0.
        if x.dtype == np.float32:
            return _reduce(np.multiply, x, axis, keepdims, np.float64, np.float32)
        return _reduce(np.multiply, x, axis, keepdims, _whole(x))

    def max(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        return _reduce(np.maximum, x, axis, keepdims)

    def min(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        return _reduce(np.minimum, x, axis, keepdims)

    def any(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        return _reduce(np.logical_or, x, axis, keepdims)

    def all(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        return _reduce(np.logical_and, x, axis, keepdims)

    def argmax(self, x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        return np.asarray(np.argmax(x, axis, keepdims=keepdims))

    def argmin(self, x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        return np.asarray(np.argmin(x, axis, keepdims=keepdims))

    def cumulative_sum(self, x: Array, axis: int) -> Array:
        with np.errstate(all="ignore"):
            if x.dtype == np.float32:
                return np.cumsum(x, axis, np.float64).astype(np.float32)
            return np.cumsum(x, axis, _whole(x))

    # ----- Shape -----

    # The methods, for np.reshape and np.transpose are Python functions around them.
    reshape = staticmethod(_np.ndarray.reshape)
    permute_dims = staticmethod(_np.ndarray.transpose)

    @staticmethod
    def broadcast_to(x: Array, shape: Shape) -> Array:
        if x.size != 1 or x.ndim > len(shape):
            return np.broadcast_to(x, shape)
        # The gradient of every full sum: without numpy's machinery, 0.4 us and not 4.
        repeated: Array = np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
        repeated.flags.writeable = False
        return repeated

    squeeze = staticmethod(_np.squeeze)
    stack = staticmethod(_np.stack)
    concat = staticmethod(_np.concatenate)
    flip = staticmethod(_np.flip)
    roll = staticmethod(_np.roll)
    tile = staticmethod(_np.tile)
    repeat = staticmethod(_np.repeat)
    diagonal = staticmethod(_np.diagonal)
    tril = staticmethod(_np.tril)
    triu = staticmethod(_np.triu)

    def expand_dims(self, x: Array, axis: Axis) -> Array:
        return np.expand_dims(x, () if axis is None else axis)

    def pad(self, x: Array, widths: tuple[Pair, ...], value: Scalar) -> Array:
        # np.pad takes 30 us for what these three lines do in 3.
        sides = list(zip(x.shape, widths, strict=True))
        padded = np.full([n + before + after for n, (before, after) in sides], value, x.dtype)
        padded[tuple(slice(before, before + n) for n, (before, _) in sides)] = x
        return padded

    # ----- Indexing -----

    def getitem(self, x: Array, index: Index) -> Array:
        return np.asarray(x[index])

    def setitem(self, x: Array, index: Index, value: Operand) -> Array:
        x[index] = value
        return x

    take = staticmethod(_np.take)
    take_along_axis = staticmethod(_np.take_along_axis)

    def index_add(self, shape: Shape, index: Index, src: Array) -> Array:
        # The definition's loop over elements, done by numpy.
        total = np.zeros(shape, src.dtype)
        np.add.at(total, index, src)
        return total

    # ----- Linear algebra, types and memory -----

    matmul = quiet(_np.matmul)

    def astype(self, x: Array, dtype: DType) -> Array:
        with np.errstate(all="ignore"):
            return x.astype(dtype)

    def copy(self, x: Array) -> Array:
        return np.array(x, order="C")

    def ascontiguousarray(self, x: Array) -> Array:
        return np.asarray(x, order="C")


@np.errstate(all="ignore")
def _reduce(
    ufunc: Any, x: Array, axis: Axis, keepdims: bool, dtype: DType = None, result: DType = None
) -> Array:
    """ufunc.reduce in `dtype`, given in `result`; a 0-d array where numpy would give a scalar."""
    return np.asarray(ufunc.reduce(x, axis, dtype, None, keepdims), result)


def _whole(x: Array) -> DType:
    """The dtype in which integers and bools add up; None, numpy's own choice, for floats."""
    if x.dtype.kind in "fc":
        return None
    return np.uint64 if x.dtype == np.uint64 else np.int64


for _name in composed_members():
    if _name not in vars(NumpyBackend):
        setattr(NumpyBackend, _name, _quiet_definition(getattr(Backend, _name)))
