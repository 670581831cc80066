"""Which operation each operator and method of Tensor is; `_methods.pyi` has their signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from babygrad.autograd import NDArray
from babygrad.dtypes import BOOL
from babygrad.ops import (
    activation,
    arithmetic,
    comparison,
    elementwise,
    indexing,
    joining,
    linalg,
    move,
    reduction,
    shape,
)
from babygrad.ops.inplace import inplace, setitem
from babygrad.ops.product import prod
from babygrad.ops.softmax import logsoftmax, softmax
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


def _logical(symbol: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`& | ^ ~`, which are for tensors of bools."""

    def method(*operands: Any) -> Tensor:
        for operand in operands:
            kind = getattr(operand, "dtype", type(operand).__name__)
            if kind not in ("bool", BOOL):
                raise TypeError(f"{symbol}: operands must be bools, not {kind}; compare them first")
        return function(*operands)

    return method


def _sizes(function: Callable[[Tensor, Any], Tensor]) -> Callable[..., Tensor]:
    """`x.reshape(2, 3)` as well as `x.reshape((2, 3))`."""

    def method(a: Tensor, *sizes: Any) -> Tensor:
        return function(a, sizes[0] if len(sizes) == 1 else sizes)

    return method


def _axes(function: Callable[[Tensor, Any], Tensor]) -> Callable[..., Tensor]:
    """`x.permute(1, 0)` as well as `x.permute((1, 0))`."""

    def method(a: Tensor, *axes: Any) -> Tensor:
        listed = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
        return function(a, listed)

    return method


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
    "__invert__": _logical("~", comparison.logical_not),
    **_named(comparison, "isnan isinf isfinite"),
    # ----- arithmetic, elementwise -----
    "__neg__": arithmetic.negate,
    "__abs__": elementwise.abs,
    "pow": arithmetic.power,
    **_named(elementwise, " ".join(name for name in elementwise.__all__ if name != "where")),
    # ----- activations -----
    **_named(activation, "elu gelu hardtanh leaky_relu relu sigmoid silu softplus tanh"),
    "log_softmax": logsoftmax,
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
    "sum": reduction.summation,
    "prod": prod,
    **_named(reduction, " ".join(name for name in reduction.__all__ if name != "summation")),
    # ----- shape, joining and cutting -----
    "to": move.to,
    "broadcast_to": _sizes(shape.broadcast_to),
    "expand": _sizes(shape.expand),
    "permute": _axes(shape.permute),
    "reshape": _sizes(shape.reshape),
    "tile": _sizes(joining.tile),
    "transpose": _axes(shape.transpose),
    **_named(shape, "astype flatten flip movedim roll squeeze swapaxes unsqueeze"),
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

for _name, _symbol, _connective in (
    ("and", "&", comparison.logical_and),
    ("or", "|", comparison.logical_or),
    ("xor", "^", comparison.logical_xor),
):
    METHODS[f"__{_name}__"] = METHODS[f"__r{_name}__"] = _logical(_symbol, _connective)

for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
