"""Initial values of weights: `xavier_uniform xavier_normal kaiming_uniform kaiming_normal`.

The variance of a weight is chosen so that activations (Xavier: and gradients) keep their size from
layer to layer. `fan_in` and `fan_out` are how many values enter and leave one unit. Everything
else, `device`, `dtype`, `generator` and `requires_grad`, goes to the factories of `Tensor`.
"""

from __future__ import annotations

import math
from typing import Any

from babygrad.tensor import Tensor

__all__ = [
    "kaiming_normal",
    "kaiming_uniform",
    "ones",
    "rand",
    "randn",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Shape = tuple[int, ...] | None

rand = Tensor.rand
randn = Tensor.randn
zeros = Tensor.zeros
ones = Tensor.ones


def xavier_uniform(
    fan_in: int, fan_out: int, gain: float = 1.0, shape: Shape = None, **kwargs: Any
) -> Tensor:
    """Uniform on +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

    Parameters
    ----------
    shape : tuple of int, optional
        `(fan_in, fan_out)` by default.

    Examples
    --------
    >>> from babygrad import init
    >>> init.xavier_uniform(3, 2).shape
    (3, 2)
    """
    bound = gain * math.sqrt(6.0 / _fans("xavier_uniform", fan_in, fan_out))
    return Tensor.rand(*_shape(shape, fan_in, fan_out), low=-bound, high=bound, **kwargs)


def xavier_normal(
    fan_in: int, fan_out: int, gain: float = 1.0, shape: Shape = None, **kwargs: Any
) -> Tensor:
    """Normal, standard deviation gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    std = gain * math.sqrt(2.0 / _fans("xavier_normal", fan_in, fan_out))
    return Tensor.randn(*_shape(shape, fan_in, fan_out), mean=0.0, std=std, **kwargs)


def kaiming_uniform(
    fan_in: int, fan_out: int, nonlinearity: str = "relu", shape: Shape = None, **kwargs: Any
) -> Tensor:
    """Uniform on +-sqrt(6 / fan_in), for layers before a ReLU (He et al., 2015)."""
    _check_relu("kaiming_uniform", nonlinearity)
    bound = math.sqrt(6.0 / _fans("kaiming_uniform", fan_in))
    return Tensor.rand(*_shape(shape, fan_in, fan_out), low=-bound, high=bound, **kwargs)


def kaiming_normal(
    fan_in: int, fan_out: int, nonlinearity: str = "relu", shape: Shape = None, **kwargs: Any
) -> Tensor:
    """Normal, standard deviation sqrt(2 / fan_in), for layers before a ReLU (He et al., 2015)."""
    _check_relu("kaiming_normal", nonlinearity)
    std = math.sqrt(2.0 / _fans("kaiming_normal", fan_in))
    return Tensor.randn(*_shape(shape, fan_in, fan_out), mean=0.0, std=std, **kwargs)


def _shape(shape: Shape, fan_in: int, fan_out: int) -> tuple[int, ...]:
    return (fan_in, fan_out) if shape is None else tuple(shape)


def _fans(op: str, *fans: int) -> int:
    if min(fans) < 1:
        raise ValueError(f"{op}: fan_in and fan_out (={fans}) must be positive")
    return sum(fans)


def _check_relu(op: str, nonlinearity: str) -> None:
    if nonlinearity != "relu":
        raise ValueError(f"{op}: nonlinearity (={nonlinearity!r}) must be 'relu'")
