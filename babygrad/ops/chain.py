"""Products and quotients for the chain rule, in which a zero upstream gradient stays zero.

Where `log`, `sqrt`, `divide` and their like have an infinite derivative, an upstream gradient of
zero must still give zero: `where(x < 1, x, sqrt(x))` has the gradient 1 at 0 although the branch
not taken has the derivative infinity there. IEEE's `0 * inf` would make it NaN.
"""

from __future__ import annotations

from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.tensor import Tensor


class ChainMultiply(Function):
    uses = ("1", "0")

    def forward(self, g: NDArray, derivative: NDArray) -> NDArray:
        return self.xp.chain_multiply(g, derivative)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        g, derivative = node._inputs
        return (
            chain_multiply(out_grad, derivative) if g.requires_grad else None,
            chain_multiply(out_grad, g) if derivative.requires_grad else None,
        )


def chain_multiply(g: Tensor, derivative: Tensor) -> Tensor:
    """`g * derivative`, and 0 where g is 0 whatever the derivative."""
    return ChainMultiply()(g, derivative)


class ChainDivide(Function):
    uses = ("1", "1y")

    def forward(self, g: NDArray, divisor: NDArray) -> NDArray:
        return self.xp.chain_divide(g, divisor)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        g, divisor = node._inputs
        gg = gd = None
        if g.requires_grad:
            gg = chain_divide(out_grad, divisor)
        if divisor.requires_grad:
            # Where the quotient is 0 because g is, it stays 0 whatever the divisor.
            gd = -chain_divide(chain_multiply(out_grad, node), divisor)
        return gg, gd


def chain_divide(g: Tensor, divisor: Tensor) -> Tensor:
    """`g / divisor`, and 0 where g is 0 whatever the divisor."""
    return ChainDivide()(g, divisor)
