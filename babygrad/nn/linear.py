"""Layers that map features: `Linear`, `Flatten`, `Embedding`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from babygrad import init, ops
from babygrad.nn._state import Layout
from babygrad.nn.module import Module, Parameter
from babygrad.ops._settings import check_switches, count_of
from babygrad.ops.linalg import check_activation
from babygrad.tensor import Tensor


class Linear(Module):
    """`x @ weight + bias`, and an activation of it if one is named.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Whether there is a bias.
    device, dtype
        Those of the parameters.
    activation : {"relu", "sigmoid", "tanh"}, optional
        See `ops.linear`.

    Attributes
    ----------
    weight : Parameter (in_features, out_features)
        Kaiming uniform at first. PyTorch stores the transpose.
    bias : Parameter (1, out_features), or None
        Zeros at first.

    Examples
    --------
    >>> from babygrad import Tensor, nn
    >>> nn.Linear(3, 2)(Tensor.ones(4, 3)).shape
    (4, 2)
    """

    layouts: ClassVar = {
        "weight": Layout("nn.Linear", "(in, out)", "(out, in)", ".T"),
        "bias": Layout("nn.Linear", "(1, out)", "(out,)", ".reshape(1, -1)"),
    }

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = "float32",
        activation: str | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_features = count_of(name, "in_features", in_features)
        self.out_features = count_of(name, "out_features", out_features)
        check_switches(name, bias=bias)
        check_activation(name, activation)
        self.activation = activation
        weight = init.kaiming_uniform(in_features, out_features, device=device, dtype=dtype)
        self.weight = Parameter(weight)
        self.bias = None
        if bias:
            self.bias = Parameter(Tensor.zeros(1, out_features, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias, self.activation)


class Flatten(Module):
    """(N, ...) -> (N, features): all axes but the first joined in row-major order."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape((x.shape[0], math.prod(x.shape[1:])))
