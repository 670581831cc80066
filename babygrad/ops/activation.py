"""Activations: the elementwise functions between the layers of a network.

`relu leaky_relu elu gelu silu softplus sigmoid tanh hardtanh`. NaN in, NaN out; none overflows or
warns. Each gradient is one fused kernel, and the same in Tensor operations when the gradient is
to be differentiated itself.
"""

from __future__ import annotations

import math
from typing import Any

from babygrad.autograd import Function, NDArray, is_grad_enabled
from babygrad.ops._common import like
from babygrad.ops._fused import Fused, real
from babygrad.ops._settings import check_bounds, check_choice, number_of
from babygrad.ops.arithmetic import power
from babygrad.ops.elementwise import clip, erf, exp, minimum, where
from babygrad.tensor import Tensor


class ReLU(Function):
    """As a `Fused` is, but written out: networks call it more often than all others."""

    uses = ("y",)

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.relu(a)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        if is_grad_enabled():
            return where(node <= 0, 0.0, out_grad)
        return like(self.xp.relu_grad(out_grad._data, node._data), out_grad)


def relu(a: Any) -> Tensor:
    """`max(a, 0)`, elementwise; the derivative at 0 is 0.

    Examples
    --------
    >>> import babygrad
    >>> babygrad.ops.relu(babygrad.Tensor([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return ReLU()(real("relu", a))


class LeakyReLU(Fused):
    member = "leaky_relu"
    uses = ("0",)

    def composed(self, gy: Tensor, saved: Tensor, slope: float) -> Tensor:
        return where(saved > 0, gy, gy * slope)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """`x` above 0, `negative_slope * x` elsewhere; the derivative at 0 is the slope."""
    return LeakyReLU(float(number_of("leaky_relu", "negative_slope", negative_slope)))(
        real("leaky_relu", x)
    )


class ELU(Fused):
    member = "elu"
    uses = ("0",)

    def composed(self, gy: Tensor, saved: Tensor, alpha: float) -> Tensor:
        return where(saved > 0, gy, gy * (exp(minimum(saved, 0.0)) * alpha))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """`x` above 0, `alpha * (exp(x) - 1)` elsewhere (Clevert et al., 2015)."""
    return ELU(float(number_of("elu", "alpha", alpha)))(real("elu", x))


class GELU(Fused):
    member = "gelu"
    uses = ("0",)

    def composed(self, gy: Tensor, saved: Tensor, tanh_form: bool) -> Tensor:
        x = clip(saved, -40, 40)  # where Phi has reached 0 and 1, before the square overflows
        square = x * x
        if tanh_form:
            factor = math.sqrt(2 / math.pi)
            cdf = (tanh(x * (square * 0.044715 + 1) * factor) + 1) * 0.5
            pdf = cdf * (1 - cdf) * (square * (6 * 0.044715 * factor) + 2 * factor)
        else:
            cdf = (erf(x * math.sqrt(0.5)) + 1) * 0.5
            pdf = exp(square * -0.5) * (1 / math.sqrt(2 * math.pi))
        return gy * (cdf + x * pdf)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """`x * Phi(x)` with the normal distribution's Phi (Hendrycks and Gimpel, 2016).

    Parameters
    ----------
    x : Tensor
    approximate : {"none", "tanh"}
        Phi exact, or in the authors' form with tanh.
    """
    check_approximate("gelu", approximate)
    return GELU(approximate == "tanh")(real("gelu", x))


def check_approximate(op: str, approximate: Any) -> None:
    """Raise unless there is such a form of Phi."""
    check_choice(op, "approximate", approximate, "none", "tanh")


class SiLU(Fused):
    member = "silu"
    uses = ("0",)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        x = clip(saved, -800, 800)  # where the slope has reached 0 and 1, for inf * 0 is NaN
        s = sigmoid(x)
        return gy * (s * (x * (1 - s) + 1))


def silu(x: Any) -> Tensor:
    """`x * sigmoid(x)`, also known as swish (Elfwing et al., 2018)."""
    return SiLU()(real("silu", x))


class Softplus(Fused):
    member = "softplus"
    uses = ("0",)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return gy * Logistic()(saved)


class Logistic(Function):
    """The sigmoid with a gradient that keeps its digits where y is near 1, and 1 - y has none."""

    uses = ("0y",)

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.sigmoid(x)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        slope: Tensor = node * Logistic()(-node._inputs[0])
        return out_grad * slope


def softplus(x: Any) -> Tensor:
    """`log(1 + exp(x))` without overflow: softplus(1000) is 1000."""
    return Softplus()(real("softplus", x))


class Sigmoid(Fused):
    member = "sigmoid"
    uses = ("y",)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return gy * (saved * (1 - saved))


def sigmoid(x: Any) -> Tensor:
    """`1 / (1 + exp(-x))` without overflow: 0 and 1 far out."""
    return Sigmoid()(real("sigmoid", x))


class Tanh(Fused):
    member = "tanh"
    uses = ("y",)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return gy * (1 - power(saved, 2))


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent, elementwise."""
    return Tanh()(real("tanh", x))


def hardtanh(x: Any, low: float = -1.0, high: float = 1.0) -> Tensor:
    """`x` limited to [low, high]; the derivative is 1 at the limits, as for `clip`."""
    check_bounds("hardtanh", low, high)
    return clip(real("hardtanh", x), low, high)
