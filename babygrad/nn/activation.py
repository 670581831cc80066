"""Activations as modules, each a thin cover of the operation of its name in `babygrad.ops`."""

from __future__ import annotations

from babygrad import ops
from babygrad.nn.module import Module
from babygrad.ops._settings import check_axis_types, check_bounds, number_of
from babygrad.ops.activation import check_approximate
from babygrad.tensor import Tensor


class ReLU(Module):
    """`ops.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class LeakyReLU(Module):
    """`ops.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = number_of(type(self).__name__, "negative_slope", negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """`ops.elu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = number_of(type(self).__name__, "alpha", alpha)

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)


class GELU(Module):
    """`ops.gelu`."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        check_approximate(type(self).__name__, approximate)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x, self.approximate)


class SiLU(Module):
    """`ops.silu`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class Softplus(Module):
    """`ops.softplus`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.softplus(x)


class Sigmoid(Module):
    """`ops.sigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Module):
    """`ops.tanh`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Hardtanh(Module):
    """`ops.hardtanh`."""

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        check_bounds(type(self).__name__, low, high)
        self.low = low
        self.high = high

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardtanh(x, self.low, self.high)


class Softmax(Module):
    """`ops.softmax` along one axis, the last by default."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        check_axis_types(type(self).__name__, axis)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.axis)


class LogSoftmax(Module):
    """`ops.logsoftmax` along one axis, the last by default."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        check_axis_types(type(self).__name__, axis)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return ops.logsoftmax(x, self.axis)
