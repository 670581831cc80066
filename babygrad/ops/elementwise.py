"""Elementwise functions of one tensor, and choices between two.

`exp expm1 log log1p log2 sqrt rsqrt reciprocal sin cos tan sinh cosh erf abs sign square floor ceil
round`, and `maximum minimum clip where`. Integers become float32 where the result is real.

A function of one tensor, with its Function, is a row of a table: its name, whether its gradient
reads the input "0" or the output "y", the gradient, and what it is. Gradients go through
`chain_multiply` and `chain_divide`: where the upstream gradient g is 0 it stays 0, whatever the
derivative. A point outside the domain gives an infinity or NaN, never a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from babygrad.autograd import Function, NDArray
from babygrad.dtypes import limits_of, promote_scalar
from babygrad.ops._common import (
    Member,
    broadcast_shape,
    check_fits,
    floating,
    lifted,
    like,
    pair,
    weak,
    whole,
)
from babygrad.ops.chain import chain_divide, chain_multiply
from babygrad.ops.comparison import equal, greater, less
from babygrad.tensor import Tensor

# fmt: off
__all__ = [
    "abs", "ceil", "clamp", "clip", "cos", "cosh", "erf", "exp", "expm1", "floor", "log", "log1p",
    "log2", "maximum", "minimum", "reciprocal", "round", "rsqrt", "sign", "sin", "sinh", "sqrt",
    "square", "tan", "where",
]
# fmt: on


_Row = Callable[[Any], Tensor]


class _Unary(Function):
    """A backend member of one array; its subclasses come from the rows of the table."""

    member: ClassVar[str]
    gradient: ClassVar[Any]

    def forward(self, a: NDArray) -> NDArray:
        result: NDArray = getattr(self.xp, self.member)(a)
        return result

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        saved = node if self.uses == ("y",) else node._inputs[0]
        result: Tensor = self.gradient(out_grad, saved)
        return result


def _unary(
    name: str,
    reads: str,
    gradient: Callable[[Tensor, Any], Tensor],
    doc: str,
    operand: Callable[[str, Any], Tensor] = floating,
) -> tuple[type[_Unary], _Row]:
    """The Function and the function that calls it."""
    row = {"member": name, "uses": (reads,), "gradient": staticmethod(gradient)}
    cls = type(name.capitalize(), (_Unary,), {**row, "__module__": __name__, "__doc__": doc})

    def function(a: Any) -> Tensor:
        result: Tensor = cls()(operand(name, a))
        return result

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return cls, function


def _flat(g: Tensor, x: Any) -> Tensor:
    """The gradient of what is constant between its jumps."""
    return like(g._device.backend.zeros(g.shape, g.dtype), g)


# Gradients above their rows name these.
cos: _Row
cosh: _Row
sign: _Row

# ----- Exponentials, logarithms and roots -----

Exp, exp = _unary("exp", "y", lambda g, y: chain_multiply(g, y), "e to the power of `a`.")
Expm1, expm1 = _unary(
    "expm1", "y", lambda g, y: chain_multiply(g, y + 1), "exp(a) - 1, precise near 0."
)
Log, log = _unary(
    "log", "0", lambda g, x: chain_divide(g, x), "The natural logarithm; -inf at 0, NaN below."
)
Log1p, log1p = _unary(
    "log1p", "0", lambda g, x: chain_divide(g, x + 1), "log(1 + a), precise near 0."
)
Log2, log2 = _unary(
    "log2", "0", lambda g, x: chain_divide(g, x * math.log(2)), "The logarithm to base 2."
)
Sqrt, sqrt = _unary(
    "sqrt", "y", lambda g, y: chain_divide(g, y * 2), "The square root; its derivative at 0 is inf."
)
Rsqrt, rsqrt = _unary(
    "rsqrt", "y", lambda g, y: chain_multiply(g, y * y * y * -0.5), "1 / sqrt(a)."
)
Reciprocal, reciprocal = _unary(
    "reciprocal", "y", lambda g, y: chain_multiply(g, -(y * y)), "1 / a."
)

# ----- Trigonometry and its like -----

Sin, sin = _unary("sin", "0", lambda g, x: chain_multiply(g, cos(x)), "The sine of radians.")
Cos, cos = _unary("cos", "0", lambda g, x: chain_multiply(g, -sin(x)), "The cosine of radians.")
Tan, tan = _unary("tan", "y", lambda g, y: chain_multiply(g, y * y + 1), "The tangent of radians.")
Sinh, sinh = _unary("sinh", "0", lambda g, x: chain_multiply(g, cosh(x)), "The hyperbolic sine.")
Cosh, cosh = _unary("cosh", "0", lambda g, x: chain_multiply(g, sinh(x)), "The hyperbolic cosine.")
Erf, erf = _unary(
    "erf",
    "0",
    lambda g, x: chain_multiply(g, _bell(clip(x, -30, 30)) * (2 / math.sqrt(math.pi))),
    "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to `a`.",
)


def _bell(x: Tensor) -> Tensor:
    """exp(-x^2), which is 0 in float64 long before x^2 overflows in float32."""
    result: Tensor = exp(-(x * x))
    return result


# ----- Magnitude, sign and rounding -----

Abs, abs = _unary(
    "abs", "0", lambda g, x: chain_multiply(g, sign(x)), "The magnitude; flat at 0.", lifted
)
Square, square = _unary("square", "0", lambda g, x: chain_multiply(g, x * 2), "`a * a`.", lifted)
Sign, sign = _unary("sign", "", _flat, "-1, 0 or 1; NaN of NaN. The gradient is 0.", lifted)
Floor, floor = _unary("floor", "", _flat, "The whole number at or below `a`; gradient 0.", lifted)
Ceil, ceil = _unary("ceil", "", _flat, "The whole number at or above `a`; gradient 0.", lifted)
Round, _rint = _unary("round", "", _flat, "The nearest whole number, of two the even one.", lifted)


def round(a: Any, decimals: int = 0) -> Tensor:
    """The nearest whole number, of two the even one; gradient 0.

    Parameters
    ----------
    a : Tensor
    decimals : int
        How many digits to keep after the point, or with a minus sign, how many before it become 0.

    Raises
    ------
    TypeError
        When digits of integers are to become 0: cast them to a float type.
    """
    tensor = lifted("round", a)
    digits = whole("round", "decimals", decimals)
    if tensor.dtype.kind != "f" and digits < 0:
        raise TypeError(f"round: decimals (={digits}) must be at least 0 for {tensor.dtype}")
    if digits == 0 or tensor.dtype.kind != "f":
        return _rint(tensor)
    scale = 10.0 ** (digits if digits > 0 else -digits)
    rounded: Tensor = _rint(tensor * scale) / scale if digits > 0 else _rint(tensor / scale) * scale
    return rounded


# ----- Choices -----


class Maximum(Member):
    member = "maximum"
    uses = ("01", "01")
    wins = staticmethod(greater)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor, Tensor]:
        a, b = node._inputs
        first, tie = self.wins(a, b), equal(a, b)
        half = where(tie, out_grad * 0.5, 0)
        return where(first, out_grad, half), where(first, 0, where(tie, half, out_grad))


class Minimum(Maximum):
    member = "minimum"
    wins = staticmethod(less)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of two, elementwise; NaN where one is NaN. Where they tie each gets half."""
    return Maximum()(*pair("maximum", a, b))


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of two, elementwise; NaN where one is NaN. Where they tie each gets half."""
    return Minimum()(*pair("minimum", a, b))


class Where(Function):
    uses = ("", "0", "0")

    def forward(self, condition: NDArray, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.where(condition, a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        condition, a, b = node._inputs
        return (
            None,
            where(condition, out_grad, 0) if a.requires_grad else None,
            where(condition, 0, out_grad) if b.requires_grad else None,
        )


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """`a` where the condition holds, elsewhere `b`; all three broadcast.

    Parameters
    ----------
    condition : Tensor or array
        Of bools, or of numbers that count as true unless they are 0.
    a, b : Tensor, array or number
        Where a value is not taken its gradient is exactly 0, even if it is infinite or NaN.

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([0.0, 4.0], requires_grad=True)
    >>> babygrad.ops.where(x < 1, x, babygrad.ops.sqrt(x)).backward(babygrad.Tensor([1.0, 1.0]))
    >>> x.grad
    array([1.  , 0.25], dtype=float32)
    """
    beside = next((v for v in (a, b, condition) if isinstance(v, Tensor)), None)
    if isinstance(a, Tensor) or not isinstance(b, Tensor):
        a, b = pair("where", lifted("where", a, b if beside is None else beside), b)
    else:
        b, a = pair("where", b, a)
    condition = lifted("where", condition, a).astype("bool")
    broadcast_shape("where", condition.shape, broadcast_shape("where", a.shape, b.shape))
    return Where()(condition, a, b)


class Clip(Member):
    member = "clip"
    uses = ("0",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        (a,), (low, high) = node._inputs, self.settings
        if low is not None:
            out_grad = where(less(a, low), 0, out_grad)
        return out_grad if high is None else where(greater(a, high), 0, out_grad)


def clip(a: Any, low: Any = None, high: Any = None) -> Tensor:
    """`a` brought into [low, high], elementwise; `clamp` is another name for it.

    Parameters
    ----------
    a : Tensor
    low, high : number, Tensor or None
        None leaves that side open. Where low > high the result is high.

    Returns
    -------
    Tensor
        The gradient goes to `a` within the bounds and on them, else to the bound if that is a
        Tensor.

    Raises
    ------
    ValueError
        When both bounds are None, or all integers of the tensor's type lie beyond one.
    """
    return _clip("clip", a, low, high)


def clamp(a: Any, low: Any = None, high: Any = None) -> Tensor:
    """`clip` under PyTorch's name."""
    return _clip("clamp", a, low, high)


def _clip(op: str, a: Any, low: Any, high: Any) -> Tensor:
    tensor, low, high = lifted(op, a), weak(low), weak(high)
    bounds = [bound for bound in (low, high) if bound is not None]
    if not bounds:
        raise ValueError(f"{op}: give at least one of low and high")
    if all(isinstance(bound, bool | int | float) for bound in bounds):
        dtype = tensor._data.dtype
        for bound in bounds:
            dtype = promote_scalar(dtype, bound.__class__)
        if dtype.kind in "iu":  # a bound that no number of the type passes is the last one
            least, greatest = limits_of(dtype)
            low = None if low is None else max(low, least)
            high = None if high is None else min(high, greatest)
            for bound in (low, high):
                check_fits(op, bound, dtype)
        return Clip(low, high)(tensor.astype(dtype))
    if low is not None:
        tensor, low = pair(op, tensor, low)
        tensor = where(less(tensor, low), low, tensor)
    if high is not None:
        tensor, high = pair(op, tensor, high)
        tensor = where(greater(tensor, high), high, tensor)
    return tensor
