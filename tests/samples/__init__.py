"""Inputs for every differentiable operation: what the gradient checks run on.

A module in this package lists its samples in `SAMPLES`. A sample is a function of Tensors and
float64 inputs at which it is smooth: `test_gradients.py` checks the first and second derivative of
each on every device, and fails for an operation that has no sample. To add one::

    SAMPLES = [
        Sample("exp", ops.exp, normal(3, 4)),
        Sample("where", lambda a, b: ops.where(MASK, a, b), normal(2, 3), normal(3)),
    ]
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


class Sample:
    """One call of an operation.

    Parameters
    ----------
    op : str
        The name in `babygrad.ops` that the sample stands for.
    call : callable
        From as many Tensors as there are inputs to a Tensor or a sequence of Tensors.
    inputs : float64 arrays
        All differentiated, away from kinks. What is not differentiated, an index or a mask,
        belongs into `call`.
    second : bool
        Whether the second derivative exists and is checked too.
    """

    def __init__(
        self, op: str, call: Callable[..., Any], *inputs: Array, second: bool = True
    ) -> None:
        self.op = op
        self.call = call
        self.inputs = inputs
        self.second = second

    def __repr__(self) -> str:
        return "-".join([self.op, *("x".join(map(str, a.shape)) or "0d" for a in self.inputs)])


_rng = np.random.default_rng(20240229)


def normal(*shape: int) -> Array:
    """Values of both signs, at least 0.1 away from zero and from each other's kinks."""
    values = _rng.standard_normal(shape)
    return np.asarray(values + np.where(values < 0, -0.1, 0.1))


def positive(*shape: int) -> Array:
    """Values in [0.5, 2)."""
    return np.asarray(_rng.uniform(0.5, 2.0, shape))


def distinct(*shape: int) -> Array:
    """Values at least 0.5 apart, in random order: no ties, and no near ones."""
    count = int(np.prod(shape))
    values = 0.5 * (_rng.permutation(count) - count / 2) + _rng.uniform(0.05, 0.2, count)
    return np.asarray(values.reshape(shape))


def discover() -> list[Sample]:
    """The samples of every module in this package."""
    found: list[Sample] = []
    for module in pkgutil.iter_modules(__path__):
        found += importlib.import_module(f"{__name__}.{module.name}").SAMPLES
    return found
