"""Which operation each operator and method of Tensor is; `_methods.pyi` has their signatures."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from babygrad.autograd import NDArray
from babygrad.ops import (
    activation,
    arithmetic,
    comparison,
    elementwise,
    extremes,
    indexing,
    joining,
    linalg,
    move,
    reduction,
)
from babygrad.ops import shape as shaping
from babygrad.ops._axes import Axes
from babygrad.ops.inplace import inplace, setitem
from babygrad.ops.product import prod
from babygrad.ops.softmax import log_softmax, logsoftmax, softmax
from babygrad.tensor import Tensor


def _reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Tensor]:
    """`other - tensor` from `tensor - other`."""
    return lambda a, b: function(b, a)


def _equality(function: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Any]:
    """Elementwise with what holds numbers; Python's own answer for None and other objects."""

    def method(a: Tensor, b: Any) -> Any:
        if isinstance(b, Tensor | NDArray | list | tuple) or hasattr(b, "__float__"):
            return function(a, b)
        return NotImplemented

    return method


def _bitwise(symbol: str, member: str) -> Callable[[Any, Any], Tensor]:
    """`& | ^`, of integers and of bools."""
    return lambda a, b: comparison.bits(symbol, member, a, b)


def _shift(symbol: str, member: str) -> Callable[[Any, Any], Tensor]:
    """`<< >>`, of integers."""
    return lambda a, b: comparison.shifted(symbol, member, a, b)


# ----- Methods that differ from the operation: in their name, or in what they take -----


def pow(self: Tensor, b: Any) -> Tensor:
    """`self ** b`, elementwise; see `ops.power`."""
    return arithmetic.power_of("pow", self, b)


def sum(
    self: Tensor, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """The sum over some or all axes; see `ops.summation`."""
    if axes is None and axis is None and not other:  # as most losses end: by the shortest way
        return reduction.Summation(None, keepdims)(self)
    return reduction.total("sum", self, axes, keepdims, axis, other)


def reshape(self: Tensor, shape: Any = (), *sizes: Any) -> Tensor:
    """The values in row-major order under another shape, `(2, 3)` or `2, 3`; a view if possible.

    One size may be -1 and is then inferred. See `ops.reshape`.
    """
    return shaping.reshape(self, (shape, *sizes) if sizes else shape)


def broadcast_to(self: Tensor, shape: Any = (), *sizes: Any) -> Tensor:
    """The tensor repeated to a larger shape, `(2, 3)` or `2, 3`; a read-only view.

    See `ops.broadcast_to`.
    """
    return shaping.broadcast_to(self, (shape, *sizes) if sizes else shape)


def expand(self: Tensor, shape: Any = (), *sizes: Any) -> Tensor:
    """`broadcast_to`, where -1 stands for the size that the axis has."""
    return shaping.expand(self, (shape, *sizes) if sizes else shape)


def tile(self: Tensor, reps: Any = (), *more: Any) -> Tensor:
    """The whole tensor repeated along each axis, `(2, 3)` or `2, 3` times; see `ops.tile`."""
    return joining.tile(self, (reps, *more) if more else reps)


def permute(self: Tensor, axes: Any = (), *more: Any) -> Tensor:
    """The axes in another order, `(1, 0)` or `1, 0`; a view. See `ops.permute`."""
    return shaping.permute(self, (axes, *more) if more else axes)


def transpose(self: Tensor, axes: Any = None, *more: Any) -> Tensor:
    """Two axes swapped, the last two by default, or all in a new order; a view.

    The axes are given as `(0, 1)` or `0, 1`. See `ops.transpose`.
    """
    return shaping.transpose(self, (axes, *more) if more else axes)


def _named(module: Any, names: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in names.split()}


METHODS: dict[str, Any] = {
    # ----- comparison and logic -----
    "__eq__": _equality(comparison.equal),
    "__ne__": _equality(comparison.not_equal),
    "__lt__": comparison.less,
    "__le__": comparison.less_equal,
    "__gt__": comparison.greater,
    "__ge__": comparison.greater_equal,
    "__invert__": lambda a: comparison.inverted("~", a),
    **_named(comparison, "isnan isinf isfinite"),
    # ----- arithmetic, elementwise -----
    "__neg__": arithmetic.negate,
    "__abs__": elementwise.abs,
    "pow": pow,
    **_named(elementwise, " ".join(name for name in elementwise.__all__ if name != "where")),
    # ----- activations -----
    **_named(activation, "elu gelu hardtanh leaky_relu relu sigmoid silu softplus tanh"),
    "log_softmax": log_softmax,
    "logsoftmax": logsoftmax,
    "softmax": softmax,
    # ----- indexing -----
    "__getitem__": indexing.getitem,
    "__setitem__": setitem,
    **_named(indexing, "take gather scatter_add"),
    # ----- matrices -----
    "__matmul__": linalg.matmul,
    "__rmatmul__": _reflected(linalg.matmul),
    **_named(linalg, "matmul dot outer"),
    # ----- reductions -----
    "sum": sum,
    "prod": prod,
    **_named(reduction, " ".join(name for name in reduction.__all__ if name != "summation")),
    **_named(extremes, " ".join(extremes.__all__)),
    # ----- shape, joining and cutting -----
    "to": move.to,
    "broadcast_to": broadcast_to,
    "expand": expand,
    "permute": permute,
    "reshape": reshape,
    "tile": tile,
    "transpose": transpose,
    **_named(shaping, "astype flatten flip movedim roll squeeze swapaxes unsqueeze"),
    **_named(joining, "chunk diagonal pad repeat split tril triu"),
}

for _name, _symbol, _function in (
    ("add", "+", arithmetic.add),
    ("sub", "-", arithmetic.subtract),
    ("mul", "*", arithmetic.multiply),
    ("truediv", "/", arithmetic.divide),
    ("floordiv", "//", arithmetic.floor_divide),
    ("mod", "%", arithmetic.remainder),
    ("pow", "**", arithmetic.power),
):
    METHODS[f"__{_name}__"] = _function
    METHODS[f"__r{_name}__"] = _reflected(_function)
    METHODS[f"__i{_name}__"] = inplace(f"{_symbol}=", _function)

for _name, _symbol, _bits in (
    ("and", "&", _bitwise("&", "bitwise_and")),
    ("or", "|", _bitwise("|", "bitwise_or")),
    ("xor", "^", _bitwise("^", "bitwise_xor")),
    ("lshift", "<<", _shift("<<", "bitwise_left_shift")),
    ("rshift", ">>", _shift(">>", "bitwise_right_shift")),
):
    METHODS[f"__{_name}__"] = _bits
    METHODS[f"__r{_name}__"] = _reflected(_bits)
    METHODS[f"__i{_name}__"] = inplace(f"{_symbol}=", _bits)


def _method(name: str, function: FunctionType) -> FunctionType:
    """The function under the method's name: the same code, so that a call costs no more."""
    method = FunctionType(
        function.__code__, function.__globals__, name, function.__defaults__, function.__closure__
    )
    method.__kwdefaults__ = function.__kwdefaults__
    method.__annotations__ = function.__annotations__
    method.__doc__ = function.__doc__
    method.__qualname__ = f"Tensor.{name}"
    return method


for _name, _operation in METHODS.items():
    setattr(Tensor, _name, _method(_name, _operation))
