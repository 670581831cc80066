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
from babygrad.ops._fused import real
from babygrad.ops.arithmetic import power
from babygrad.ops.elementwise import clip, erf, exp, minimum, where
from babygrad.tensor import Tensor


class _Activation(Function):
    """y = f(x): the gradient reads y where f can be differentiated from its result, else x."""

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        """The gradient in one kernel."""
        raise NotImplementedError

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        """The gradient in operations that can be differentiated."""
        raise NotImplementedError

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        saved = node if self.uses == ("y",) else node._inputs[0]
        if is_grad_enabled():
            return self.composed(out_grad, saved)
        return like(self.fused(out_grad._data, saved._data), out_grad)


class ReLU(_Activation):
    uses = ("y",)

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.relu(x)

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        return self.xp.relu_grad(gy, saved)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return where(saved <= 0, 0.0, gy)


def relu(x: Any) -> Tensor:
    """`max(x, 0)`, elementwise; the derivative at 0 is 0.

    Examples
    --------
    >>> import babygrad
    >>> babygrad.ops.relu(babygrad.Tensor([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return ReLU()(real("relu", x))


class LeakyReLU(_Activation):
    uses = ("0",)

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.leaky_relu(x, self.slope)

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        return self.xp.leaky_relu_grad(gy, saved, self.slope)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return where(saved > 0, gy, gy * self.slope)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """`x` above 0, `negative_slope * x` elsewhere; the derivative at 0 is the slope."""
    return LeakyReLU(float(negative_slope))(real("leaky_relu", x))


class ELU(_Activation):
    uses = ("0",)

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.elu(x, self.alpha)

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        return self.xp.elu_grad(gy, saved, self.alpha)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return where(saved > 0, gy, gy * (exp(minimum(saved, 0.0)) * self.alpha))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """`x` above 0, `alpha * (exp(x) - 1)` elsewhere (Clevert et al., 2015)."""
    return ELU(float(alpha))(real("elu", x))


class GELU(_Activation):
    uses = ("0",)

    def __init__(self, tanh_form: bool) -> None:
        self.tanh_form = tanh_form

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.gelu(x, self.tanh_form)

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        return self.xp.gelu_grad(gy, saved, self.tanh_form)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        x, square = saved, saved * saved
        if self.tanh_form:
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
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate (={approximate!r}) must be 'none' or 'tanh'")
    return GELU(approximate == "tanh")(real("gelu", x))


class SiLU(_Activation):
    uses = ("0",)

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.silu(x)

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        return self.xp.silu_grad(gy, saved)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        s = sigmoid(saved)
        return gy * (s * (saved * (1 - s) + 1))


def silu(x: Any) -> Tensor:
    """`x * sigmoid(x)`, also known as swish (Elfwing et al., 2018)."""
    return SiLU()(real("silu", x))


class Softplus(_Activation):
    uses = ("0",)

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.softplus(x)

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        return self.xp.softplus_grad(gy, saved)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return gy * sigmoid(saved)


def softplus(x: Any) -> Tensor:
    """`log(1 + exp(x))` without overflow: softplus(1000) is 1000."""
    return Softplus()(real("softplus", x))


class Sigmoid(_Activation):
    uses = ("y",)

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.sigmoid(x)

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        return self.xp.sigmoid_grad(gy, saved)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return gy * (saved * (1 - saved))


def sigmoid(x: Any) -> Tensor:
    """`1 / (1 + exp(-x))` without overflow: 0 and 1 far out."""
    return Sigmoid()(real("sigmoid", x))


class Tanh(_Activation):
    uses = ("y",)

    def forward(self, x: NDArray) -> NDArray:
        return self.xp.tanh(x)

    def fused(self, gy: NDArray, saved: NDArray) -> NDArray:
        return self.xp.tanh_grad(gy, saved)

    def composed(self, gy: Tensor, saved: Tensor) -> Tensor:
        return gy * (1 - power(saved, 2))


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent, elementwise."""
    return Tanh()(real("tanh", x))


def hardtanh(x: Any, low: float = -1.0, high: float = 1.0) -> Tensor:
    """`x` limited to [low, high]; the derivative is 1 at the limits, as for `clip`."""
    return clip(real("hardtanh", x), low, high)
