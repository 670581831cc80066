"""Activations and softmax where they are easily wrong. Gradients: test_gradients.py."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

BY_FORMULA: dict[str, Any] = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "hardtanh": lambda x: min(max(x, -1.0), 1.0),
}


@pytest.mark.parametrize("name", BY_FORMULA)
def test_values_follow_the_formula_in_every_layout(name: str, device: str, dtype: str) -> None:
    values = np.random.default_rng(0).uniform(-4, 4, (5, 7))
    x = Tensor(values, dtype=dtype)
    expected = np.vectorize(BY_FORMULA[name])(x.data.astype("float64"))
    # A few roundings of values of at most 4, plus those of the function itself.
    tolerance = 64 * np.finfo(dtype).eps
    for view, oracle in ((x, expected), (x.T, expected.T), (x[::-2], expected[::-2])):
        y = getattr(ops, name)(view)
        assert y.dtype == np.dtype(dtype)
        np.testing.assert_allclose(y.data, oracle, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", BY_FORMULA)
def test_nan_stays_at_every_position(name: str, device: str, dtype: str) -> None:
    for length in (1, 3, 8, 17, 33, 67):
        for place in {0, length // 2, length - 1}:
            values = np.zeros(length)
            values[place] = np.nan
            y = getattr(ops, name)(Tensor(values, dtype=dtype)).data
            assert np.flatnonzero(np.isnan(y)).tolist() == [place]


def test_relu_of_infinities(device: str, dtype: str) -> None:
    y = ops.relu(Tensor([-np.inf, np.inf, -1.0], dtype=dtype))
    assert y.tolist() == [0.0, np.inf, 0.0]


def test_nothing_overflows_or_warns(device: str, dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = Tensor([-1000.0, 1000.0], dtype=dtype, requires_grad=True)
        assert ops.sigmoid(far).tolist() == [0.0, 1.0]
        assert ops.softplus(far).tolist() == [0.0, 1000.0]
        assert ops.silu(far).tolist() == [0.0, 1000.0]
        assert ops.elu(far).tolist() == [-1.0, 1000.0]
        assert ops.softmax(Tensor([1000.0, 1000.0], dtype=dtype)).tolist() == [0.5, 0.5]
        ops.softplus(far).sum().backward()
    assert far.grad.tolist() == [0.0, 1.0]


# The value at a large x and at a large -x, and the slopes there; None stands for x itself.
LIMITS: dict[str, tuple[Any, float, float, float]] = {
    "relu": (None, 0.0, 1.0, 0.0),
    "elu": (None, -1.0, 1.0, 0.0),
    "gelu": (None, 0.0, 1.0, 0.0),
    "gelu by tanh": (None, 0.0, 1.0, 0.0),
    "silu": (None, 0.0, 1.0, 0.0),
    "softplus": (None, 0.0, 1.0, 0.0),
    "sigmoid": (1.0, 0.0, 0.0, 0.0),
    "tanh": (1.0, -1.0, 0.0, 0.0),
    "hardtanh": (1.0, -1.0, 0.0, 0.0),
    "erf": (1.0, -1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", LIMITS)
def test_values_and_derivatives_reach_their_limits(name: str, device: str, dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    far = [np.inf, largest, 1e38, 1e20] + ([1e200] if dtype == "float64" else [])
    high, low, slope_high, slope_low = LIMITS[name]

    def function(x: Tensor) -> Tensor:
        return ops.gelu(x, "tanh") if name == "gelu by tanh" else getattr(ops, name)(x)

    x = Tensor(far + [-v for v in far], dtype=dtype, requires_grad=True)
    n = len(far)
    expected = [float(v) if high is None else high for v in x.data[:n]] + [low] * n
    assert function(x).tolist() == expected
    slopes = [slope_high] * n + [slope_low] * n
    function(x).sum().backward()
    assert x.grad.tolist() == slopes
    first = babygrad.grad(function(x).sum(), x, create_graph=True)
    assert first.tolist() == slopes
    second = babygrad.grad(first.sum(), x, allow_unused=True)
    assert second is None or second.tolist() == [0.0] * 2 * n  # None: the slope is constant


def test_the_curvature_of_softplus_keeps_its_digits_on_both_sides(device: str, dtype: str) -> None:
    x = Tensor([-30.0, -17.0, -2.0, 0.5, 17.0, 30.0], dtype=dtype, requires_grad=True)
    first = babygrad.grad(ops.softplus(x).sum(), x, create_graph=True)
    second = babygrad.grad(first.sum(), x)
    e = np.exp(-np.abs(x.data.astype("f8")))
    np.testing.assert_allclose(second.data, e / (1 + e) ** 2, rtol=16 * np.finfo(dtype).eps)


def test_derivatives_at_the_kinks(device: str, dtype: str) -> None:
    def slope(function: Any, point: float) -> float:
        x = Tensor([point], dtype=dtype, requires_grad=True)
        function(x).backward()
        return float(x.grad[0])

    assert slope(ops.relu, 0.0) == 0.0
    assert slope(lambda x: ops.leaky_relu(x, 0.25), 0.0) == 0.25
    assert slope(ops.hardtanh, 1.0) == slope(ops.hardtanh, -1.0) == 1.0


def test_second_derivative_of_relu_is_zero(device: str) -> None:
    x = Tensor([-1.0, 2.0], requires_grad=True)
    first = babygrad.grad((ops.relu(x) * x).sum(), x, create_graph=True)
    assert first.tolist() == [0.0, 4.0]
    assert babygrad.grad(first.sum(), x).tolist() == [0.0, 2.0]


def test_an_operation_that_saved_its_result_watches_it(device: str) -> None:
    for name in ("relu", "sigmoid", "tanh", "softmax", "logsoftmax"):
        x = Tensor([1.0, 2.0], requires_grad=True)
        hidden = x * 1.0
        y = getattr(ops, name)(hidden)
        hidden.data = np.zeros(2, "float32")  # nobody's gradient reads it
        y.sum().backward()
        x = Tensor([1.0, 2.0], requires_grad=True)
        y = getattr(ops, name)(x)
        total = y.sum()
        with babygrad.no_grad():
            y += 1.0
        with pytest.raises(RuntimeError, match="modified in place"):
            total.backward()
        assert x.grad is None


def test_integers_and_float16_are_computed_in_float32(device: str) -> None:
    assert ops.relu([-1, 2]).dtype == np.float32
    half = Tensor([1.0, -2.0], dtype="float16", requires_grad=True)
    y = ops.gelu(half)
    y.sum().backward()
    assert (y.dtype, half.grad.dtype) == (np.dtype("float32"), np.dtype("float16"))


def test_softmax_of_nothing_is_empty(device: str) -> None:
    for shape, axes in (((3, 0), 1), ((3, 0), 0), ((0,), None), ((2, 0, 3), (0, 1))):
        for function in (ops.softmax, ops.logsoftmax):
            x = Tensor(np.zeros(shape), requires_grad=True)
            y = function(x, axes)
            assert y.shape == shape
            y.sum().backward()
            assert x.grad.shape == shape


def test_softmax_sums_to_one_along_its_axes(device: str, dtype: str) -> None:
    x = Tensor(np.random.default_rng(1).normal(size=(3, 4, 5)), dtype=dtype)
    for axes in (0, -1, (0, 2), (0, 1, 2)):
        total = ops.softmax(x, axes).data.sum(axes)
        np.testing.assert_allclose(total, 1, rtol=60 * np.finfo(dtype).eps)
        logs = np.exp(ops.logsoftmax(x, axis=axes).data.astype("float64"))
        np.testing.assert_allclose(logs, ops.softmax(x, axes).data, rtol=60 * np.finfo(dtype).eps)


def test_bad_arguments_get_one_sentence(device: str) -> None:
    with pytest.raises(ValueError, match=r"gelu: approximate \(='erf'\)"):
        ops.gelu([1.0], "erf")
    with pytest.raises(ValueError, match="softmax: axis 2 is out of range"):
        ops.softmax(Tensor([[1.0]]), 2)
    with pytest.raises(TypeError, match="relu: an operand is a str"):
        ops.relu("x")
