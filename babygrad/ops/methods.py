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
from babygrad.ops.inplace import inplace
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


def _transpose(a: Tensor, *axes: Any) -> Tensor:
    """`x.transpose()`, `x.transpose(0, 1)` and `x.transpose((0, 1))`."""
    listed = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    return shape.transpose(a, listed or None)


METHODS: dict[str, Any] = {
    # ----- arithmetic -----
    "__add__": arithmetic.add,
    "__radd__": _reflected(arithmetic.add),
    "__iadd__": inplace("+=", arithmetic.add),
    "__sub__": arithmetic.subtract,
    "__rsub__": _reflected(arithmetic.subtract),
    "__isub__": inplace("-=", arithmetic.subtract),
    "__mul__": arithmetic.multiply,
    "__rmul__": _reflected(arithmetic.multiply),
    "__imul__": inplace("*=", arithmetic.multiply),
    "__truediv__": arithmetic.divide,
    "__rtruediv__": _reflected(arithmetic.divide),
    "__itruediv__": inplace("/=", arithmetic.divide),
    "__floordiv__": arithmetic.floor_divide,
    "__rfloordiv__": _reflected(arithmetic.floor_divide),
    "__ifloordiv__": inplace("//=", arithmetic.floor_divide),
    "__mod__": arithmetic.remainder,
    "__rmod__": _reflected(arithmetic.remainder),
    "__imod__": inplace("%=", arithmetic.remainder),
    "__pow__": arithmetic.power,
    "__rpow__": _reflected(arithmetic.power),
    "__ipow__": inplace("**=", arithmetic.power),
    "__neg__": arithmetic.negate,
    "__abs__": elementwise.abs,
    "pow": arithmetic.power,
    # ----- comparison and logic -----
    "__eq__": _equality(comparison.equal),
    "__ne__": _equality(comparison.not_equal),
    "__lt__": comparison.less,
    "__le__": comparison.less_equal,
    "__gt__": comparison.greater,
    "__ge__": comparison.greater_equal,
    "__and__": _logical("&", comparison.logical_and),
    "__rand__": _logical("&", comparison.logical_and),
    "__or__": _logical("|", comparison.logical_or),
    "__ror__": _logical("|", comparison.logical_or),
    "__xor__": _logical("^", comparison.logical_xor),
    "__rxor__": _logical("^", comparison.logical_xor),
    "__invert__": _logical("~", comparison.logical_not),
    "isnan": comparison.isnan,
    "isinf": comparison.isinf,
    "isfinite": comparison.isfinite,
    # ----- elementwise -----
    **{name: getattr(elementwise, name) for name in elementwise.__all__ if name != "where"},
    # ----- activations -----
    "elu": activation.elu,
    "gelu": activation.gelu,
    "hardtanh": activation.hardtanh,
    "leaky_relu": activation.leaky_relu,
    "log_softmax": logsoftmax,
    "logsoftmax": logsoftmax,
    "relu": activation.relu,
    "sigmoid": activation.sigmoid,
    "silu": activation.silu,
    "softmax": softmax,
    "softplus": activation.softplus,
    "tanh": activation.tanh,
    # ----- indexing -----
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
    "take": indexing.take,
    "gather": indexing.gather,
    "scatter_add": indexing.scatter_add,
    # ----- matrices -----
    "__matmul__": linalg.matmul,
    "__rmatmul__": _reflected(linalg.matmul),
    "matmul": linalg.matmul,
    "dot": linalg.dot,
    "outer": linalg.outer,
    # ----- reductions -----
    "sum": reduction.summation,
    **{name: getattr(reduction, name) for name in reduction.__all__ if name != "summation"},
    # ----- shape -----
    "to": move.to,
    "astype": shape.astype,
    "broadcast_to": _sizes(shape.broadcast_to),
    "expand": _sizes(shape.expand),
    "flatten": shape.flatten,
    "flip": shape.flip,
    "movedim": shape.movedim,
    "permute": _axes(shape.permute),
    "reshape": _sizes(shape.reshape),
    "roll": shape.roll,
    "squeeze": shape.squeeze,
    "swapaxes": shape.swapaxes,
    "transpose": _transpose,
    "unsqueeze": shape.unsqueeze,
    # ----- joining and cutting -----
    "chunk": joining.chunk,
    "diagonal": joining.diagonal,
    "pad": joining.pad,
    "repeat": joining.repeat,
    "split": joining.split,
    "tile": _sizes(joining.tile),
    "tril": joining.tril,
    "triu": joining.triu,
}

for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
