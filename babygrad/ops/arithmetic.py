"""Arithmetic: sums, products, quotients and powers, with tensors and with scalars.

`add subtract multiply divide power negate`, each what one of Python's operators calls, and the
book's `add_scalar mul_scalar divide_scalar power_scalar`. `floor_divide` and `remainder` follow
Python's signs. Operands broadcast; their gradients are summed back by the engine.
"""

from __future__ import annotations

from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.dtypes import float_of
from babygrad.ops._common import Scalar, lifted, like, operands, pair
from babygrad.ops.chain import chain_divide, chain_multiply
from babygrad.ops.comparison import equal, greater_equal, logical_and
from babygrad.ops.elementwise import log, where
from babygrad.tensor import Tensor

# fmt: off
__all__ = [
    "add", "add_scalar", "divide", "divide_scalar", "floor_divide", "mul_scalar", "multiply",
    "negate", "power", "power_scalar", "remainder", "subtract",
]
# fmt: on


class _WithScalar(Function):
    """An operation of which the second operand is a number, without a gradient."""

    uses = ("",)

    def __init__(self, scalar: Scalar) -> None:
        self.scalar = scalar


class Add(Function):
    uses = ("", "")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.add(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor, Tensor]:
        return out_grad, out_grad


class AddScalar(_WithScalar):
    def forward(self, a: NDArray) -> NDArray:
        return self.xp.add(a, self.scalar)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return out_grad


def add(a: Any, b: Any) -> Tensor:
    """`a + b`, elementwise.

    Parameters
    ----------
    a, b : Tensor, array or number
        Of shapes that broadcast.

    Raises
    ------
    ValueError
        When the shapes do not broadcast.

    Examples
    --------
    >>> import babygrad
    >>> babygrad.ops.add(babygrad.Tensor([1.0, 2.0]), 1).tolist()
    [2.0, 3.0]
    """
    a, b = operands("add", a, b)
    return Add()(a, b) if isinstance(b, Tensor) else AddScalar(b)(a)


def add_scalar(a: Any, scalar: Scalar) -> Tensor:
    """`a + scalar`."""
    return add(a, scalar)


class Subtract(Function):
    uses = ("", "")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.subtract(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor, Tensor | None]:
        return out_grad, (negate(out_grad) if node._inputs[1].requires_grad else None)


def subtract(a: Any, b: Any) -> Tensor:
    """`a - b`, elementwise; shapes broadcast."""
    a, b = operands("subtract", a, b)
    if isinstance(b, Tensor):
        return Subtract()(a, b)
    if a._data.dtype.kind == "f":
        return AddScalar(-b)(a)
    # An unsigned type has no -b.
    return Subtract()(a, lifted("subtract", b, a))


class Multiply(Function):
    uses = ("1", "0")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.multiply(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        a, b = node._inputs
        return (
            multiply(out_grad, b) if a.requires_grad else None,
            multiply(out_grad, a) if b.requires_grad else None,
        )


class MulScalar(_WithScalar):
    def forward(self, a: NDArray) -> NDArray:
        return self.xp.multiply(a, self.scalar)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return multiply(out_grad, self.scalar)


def multiply(a: Any, b: Any) -> Tensor:
    """`a * b`, elementwise; shapes broadcast."""
    a, b = operands("multiply", a, b)
    return Multiply()(a, b) if isinstance(b, Tensor) else MulScalar(b)(a)


def mul_scalar(a: Any, scalar: Scalar) -> Tensor:
    """`a * scalar`."""
    return multiply(a, scalar)


class Divide(Function):
    uses = ("1", "1y")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.divide(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        _, b = node._inputs
        ga = chain_divide(out_grad, b)
        # d(a/b)/db = -(a/b)/b, with the quotient at hand
        return ga, negate(chain_multiply(ga, node)) if b.requires_grad else None


class DivScalar(_WithScalar):
    def forward(self, a: NDArray) -> NDArray:
        return self.xp.divide(a, self.scalar)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        if self.scalar == 0:
            return chain_divide(out_grad, lifted("divide", self.scalar, out_grad))
        return divide(out_grad, self.scalar)


def divide(a: Any, b: Any) -> Tensor:
    """`a / b`, elementwise; shapes broadcast, integers become float32.

    Division by zero gives an infinity or NaN, as IEEE 754 says, without a warning.
    """
    a, b = operands("divide", a, b, any_number=True)
    wanted = float_of(a.dtype)
    if isinstance(b, Tensor):
        return Divide()(a.astype(wanted), b.astype(wanted))
    return DivScalar(b)(a.astype(wanted))


def divide_scalar(a: Any, scalar: Scalar) -> Tensor:
    """`a / scalar`."""
    return divide(a, scalar)


class Negate(Function):
    uses = ("",)

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.negative(a)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return negate(out_grad)


def negate(a: Any) -> Tensor:
    """`-a`, elementwise."""
    return Negate()(lifted("negate", a))


class Power(Function):
    uses = ("01", "01y")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.pow(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        a, b = node._inputs
        ga = gb = None
        if a.requires_grad:
            # The inner product is 0 where b is 0, also at 0 ** 0 with its infinite 0 ** -1.
            slope = chain_multiply(b, power(a, subtract(b, 1)))
            ga = chain_multiply(out_grad, slope)
        if b.requires_grad:
            # 0 ** b stays 0 when b moves; log(1) stands for that instead of log(0).
            flat = logical_and(equal(a, 0), greater_equal(b, 0))
            gb = chain_multiply(out_grad, chain_multiply(node, log(where(flat, 1, a))))
        return ga, gb


class PowerScalar(_WithScalar):
    uses = ("0",)

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.square(a) if self.scalar == 2 else self.xp.pow(a, self.scalar)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        (a,) = node._inputs
        if self.scalar == 0:
            return like(self.xp.zeros(out_grad.shape, out_grad.dtype), out_grad)
        lower = a if self.scalar == 2 else PowerScalar(self.scalar - 1)(a)
        return chain_multiply(out_grad, multiply(lower, self.scalar))


def power(a: Any, b: Any) -> Tensor:
    """`a ** b`, elementwise; shapes broadcast.

    Parameters
    ----------
    a, b : Tensor, array or number
        The gradient with respect to `b`, which needs the logarithm of `a`, is computed only when
        `b` requires grad, so that a negative base with a whole exponent has its gradient.

    Raises
    ------
    ValueError
        When an integer is raised to a negative integer power: cast one of them to a float.

    Notes
    -----
    At zero the gradients are those of PyTorch: `x ** 0` has the gradient 0 everywhere, and
    `0 ** b` with `b >= 0` the gradient 0 with respect to b.

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([-2.0], requires_grad=True)
    >>> (x ** 2).backward()
    >>> x.grad
    array([-4.], dtype=float32)
    """
    return power_of("power", a, b)


def power_of(op: str, a: Any, b: Any) -> Tensor:
    """`power` by the name that it was called by."""
    a, b = operands(op, a, b)
    if a._data.dtype.kind != "f":
        if b < 0 if not isinstance(b, Tensor) else (b._data < 0).any():
            raise ValueError(
                f"{op}: a tensor of {a.dtype} cannot be raised to a negative power; "
                "cast it to a float type"
            )
    return Power()(a, b) if isinstance(b, Tensor) else PowerScalar(b)(a)


def power_scalar(a: Any, scalar: Scalar) -> Tensor:
    """`a ** scalar`."""
    return power(a, scalar)


class FloorDivide(Function):
    uses = ("", "")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.floor_divide(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor, Tensor]:
        flat = like(self.xp.zeros(out_grad.shape, out_grad.dtype), out_grad)
        return flat, flat


def floor_divide(a: Any, b: Any) -> Tensor:
    """`a // b`, rounded down as Python does; its gradient is 0."""
    return FloorDivide()(*pair("floor_divide", a, b))


class Remainder(Function):
    uses = ("", "01")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.remainder(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor, Tensor | None]:
        a, b = node._inputs
        if not b.requires_grad:
            return out_grad, None
        return out_grad, negate(chain_multiply(out_grad, floor_divide(a, b)))


def remainder(a: Any, b: Any) -> Tensor:
    """`a % b = a - b * floor(a / b)`, with the sign of `b` as in Python."""
    return Remainder()(*pair("remainder", a, b))
