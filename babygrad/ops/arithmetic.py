"""Arithmetic: sums, products, quotients and powers, with tensors and with scalars.

`add subtract multiply divide power negate`, each with what Python's operators need, and the
book's `add_scalar mul_scalar divide_scalar power_scalar`. `floor_divide` and `remainder` follow
Python's signs. Operands broadcast; their gradients are summed back by the engine.
"""

from __future__ import annotations

from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.dtypes import float_of
from babygrad.ops._common import Scalar, operands
from babygrad.ops.chain import chain_divide, chain_multiply
from babygrad.tensor import Tensor


class Add(Function):
    uses = ("", "")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.add(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor, Tensor]:
        return out_grad, out_grad


class AddScalar(Function):
    uses = ("",)

    def __init__(self, scalar: Scalar) -> None:
        self.scalar = scalar

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
    return Subtract()(a, b) if isinstance(b, Tensor) else AddScalar(-b)(a)


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


class MulScalar(Function):
    uses = ("",)

    def __init__(self, scalar: Scalar) -> None:
        self.scalar = scalar

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
        a, b = node._inputs
        ga = chain_divide(out_grad, b)
        # d(a/b)/db = -(a/b)/b, with the quotient at hand
        return ga, negate(chain_multiply(ga, node)) if b.requires_grad else None


class DivScalar(Function):
    uses = ("",)

    def __init__(self, scalar: Scalar) -> None:
        self.scalar = scalar

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.divide(a, self.scalar)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return divide(out_grad, self.scalar)


def divide(a: Any, b: Any) -> Tensor:
    """`a / b`, elementwise; shapes broadcast, integers become float32.

    Division by zero gives an infinity or NaN, as IEEE 754 says, without a warning.
    """
    a, b = operands("divide", a, b)
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


def negate(a: Tensor) -> Tensor:
    """`-a`, elementwise."""
    return Negate()(a)
