"""Reductions of numbers whose squares, powers or products overflow or vanish, where they do not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops, optim

NEAR = np.array([[3.0, 4.0, 0.0], [1.0, 2.0, 2.0]])
NORMS: dict[str, tuple[Any, Any]] = {
    "norm": (lambda x: ops.norm(x, 1), lambda v: np.sqrt((v**2).sum(1))),
    "norm of all": (lambda x: ops.norm(x), lambda v: np.sqrt((v**2).sum())),
    "norm, kept": (
        lambda x: ops.norm(x, (0, -1), keepdims=True),
        lambda v: np.sqrt((v**2).sum(keepdims=True)),
    ),
    "std": (lambda x: ops.std(x, 1), lambda v: v.std(1, ddof=1)),
    "std of all": (lambda x: ops.std(x, keepdims=True), lambda v: v.std(ddof=1, keepdims=True)),
    "norm of order 3": (
        lambda x: ops.norm(x, 1, order=3),
        lambda v: (np.abs(v) ** 3).sum(1) ** (1 / 3),
    ),
    "norm of order 1/2": (
        lambda x: ops.norm(x, 1, order=0.5),
        lambda v: (np.abs(v) ** 0.5).sum(1) ** 2,
    ),
    "norm of order -2": (
        lambda x: ops.norm(x[1:], 1, order=-2),
        lambda v: (v[1:] ** -2).sum(1) ** -0.5,
    ),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("size", ["large", "larger", "small", "plain"])
def test_norms_and_deviations_of_any_size(name: str, size: str, device: str, dtype: str) -> None:
    by_type = {"large": (1e20, 1e160), "larger": (1e36, 1e300), "small": (1e-25, 1e-250)}
    factor = by_type.get(size, (1.0, 1.0))[dtype == "float64"]
    function, oracle = NORMS[name]
    tolerance = 32 * np.finfo(dtype).eps
    x = Tensor(NEAR * factor, dtype=dtype, requires_grad=True)
    y = function(x)
    np.testing.assert_allclose(y.data / factor, oracle(NEAR), rtol=tolerance)
    # Homogeneous: the gradient is that of the numbers near 1, here by central differences.
    wanted = np.zeros(NEAR.shape)
    for place in np.ndindex(NEAR.shape):
        if NEAR[place] == 0 and "order" in name:
            continue  # by definition 0
        step = np.zeros(NEAR.shape)
        step[place] = 1e-5
        wanted[place] = (oracle(NEAR + step) - oracle(NEAR - step)).sum() / 2e-5
    for recorded in (False, True):
        first = babygrad.grad(function(x).sum(), x, create_graph=recorded)
        np.testing.assert_allclose(first.data, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["norm", "std"])
def test_second_derivatives_of_norms_and_deviations(name: str, device: str) -> None:
    x = Tensor(NEAR + 0.25, dtype="float64", requires_grad=True)
    babygrad.gradgradcheck(NORMS[name][0], x)
    large = Tensor((NEAR + 0.25) * 1e160, dtype="float64", requires_grad=True)

    def second(values: Tensor) -> Any:
        first = babygrad.grad(NORMS[name][0](values).sum(), values, create_graph=True)
        return babygrad.grad((first * first.detach() * first).sum(), values).data

    np.testing.assert_allclose(second(large) * 1e160, second(x), rtol=1e-9, atol=1e-12)


def test_the_norm_of_nothing_but_zeros_has_the_gradient_zero(device: str, dtype: str) -> None:
    for function in (ops.norm, ops.std):
        x = Tensor(np.zeros((2, 3)), dtype=dtype, requires_grad=True)
        function(x, 1).sum().backward()
        assert x.grad.tolist() == np.zeros((2, 3)).tolist()


def test_equal_numbers_deviate_by_zero_however_large(device: str, dtype: str) -> None:
    for value in (2.0**100, 1.0, 2.0**-100):  # whose sums of four are exact
        x = Tensor(np.full((2, 4), value), dtype=dtype, requires_grad=True)
        y = ops.std(x, 1)
        y.sum().backward()
        assert (y.tolist(), x.grad.tolist()) == ([0.0, 0.0], np.zeros((2, 4)).tolist())
        assert ops.layer_norm(x, eps=1e-35).tolist() == np.zeros((2, 4)).tolist()


def test_infinities_and_nan_stay_what_they_are(device: str, dtype: str) -> None:
    x = Tensor([[math.inf, 1.0], [math.nan, 1.0], [-math.inf, math.inf]], dtype=dtype)
    assert ops.norm(x[::2], 1).tolist() == [math.inf, math.inf]
    assert np.isnan(ops.norm(x, 1).data).tolist() == [False, True, False]
    assert np.isnan(ops.std(x, 1).data).all()
    assert ops.norm(Tensor(np.ones((2, 0)), dtype=dtype), 1).tolist() == [0.0, 0.0]


def test_sums_that_overflow_warn_of_nothing(device: str) -> None:
    largest = float(np.finfo("float32").max)
    assert Tensor([largest, largest]).sum().item() == math.inf
    assert ops.var(Tensor([1e30, 3e30])).item() == math.inf


# ----- The gradient of a product -----


PRODUCTS = [
    [0.0, math.nan, 2.0],
    [3.0, math.nan, 2.0],
    [3.0, math.inf, 2.0],
    [0.0, math.inf, 2.0],
    [0.0, 0.0, 5.0],
    [0.0, -3.0, 5.0, 7.0],
    [1e20, 1e20],
    [1e20, -1e20, 1e-20],
    [1e-30, 1e-30, 5.0],
    [1e30, 1e30, 1e-30, 1e-30, 2.0],
    [0.0],
    [math.nan],
    [math.inf],
    [2.0, 0.0, math.nan, 0.0, math.inf, 4.0, 5.0],
]


@pytest.mark.parametrize("factors", PRODUCTS)
def test_a_factors_gradient_is_the_product_of_the_others(
    factors: list[float], device: str, dtype: str
) -> None:
    with np.errstate(all="ignore"):
        others = [np.prod(np.delete(np.array(factors), i)) for i in range(len(factors))]
        expected = np.array(others).astype(dtype)
    x = Tensor([factors, [2.0] * len(factors)], dtype=dtype, requires_grad=True)
    ops.prod(x, 1).sum().backward()
    first = babygrad.grad(ops.prod(x, 1).sum(), x, create_graph=True)
    for found in (x.grad, first.data):
        np.testing.assert_allclose(found[0], expected, rtol=8 * np.finfo(dtype).eps)
        assert (found[1] == 2.0 ** (len(factors) - 1)).all()


def test_second_derivatives_of_a_product_with_zeros(device: str) -> None:
    values = np.array([2.0, 0.0, 3.0, 5.0, 0.0])
    x = Tensor(values, dtype="float64", requires_grad=True)
    direction = np.arange(1.0, 6.0)
    first = babygrad.grad(ops.prod(x), x, create_graph=True)
    got = babygrad.grad((first * Tensor(direction, dtype="float64")).sum(), x).data
    expected = np.zeros(5)
    for i in range(5):
        for j in range(5):
            if i != j:
                expected[j] += direction[i] * np.prod(np.delete(values, [i, j]))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_the_gradient_of_a_long_product_with_a_zero(device: str) -> None:
    values = np.ones(300_001)
    values[77] = 0
    x = Tensor(values, requires_grad=True)
    ops.prod(x).backward()
    assert np.flatnonzero(x.grad).tolist() == [77]
    assert x.grad[77] == 1.0


# ----- Clipping gradients -----


@pytest.mark.parametrize("size", [1e20, 3e37, 1e-30, 1e200, 1e-200])
def test_clipping_knows_the_norm_of_gradients_of_any_size(size: float, device: str) -> None:
    dtype = "float32" if 1e-40 < size < 1e40 else "float64"
    w, v = (Tensor(NEAR[i], dtype=dtype, requires_grad=True) for i in (0, 1))
    w.grad, v.grad = ((NEAR[i] * size).astype(dtype) for i in (0, 1))
    limit = min(1.0, size / 10)
    norm = optim.clip_grad_norm([w, v], limit)
    assert abs(norm / size - math.sqrt(34)) < 1e-6
    for i, p in enumerate((w, v)):
        wanted = NEAR[i] / math.sqrt(34) * limit
        np.testing.assert_allclose(p.grad / limit, wanted / limit, rtol=1e-5)


def test_clipping_leaves_gradients_that_are_not_finite(device: str) -> None:
    for broken in (math.inf, math.nan):
        w = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
        w.grad = np.array([broken, 1e200])
        assert not math.isfinite(optim.clip_grad_norm([w], 1.0))
        assert w.grad[1] == 1e200


@pytest.mark.parametrize(
    ("factors", "product"),
    [([1e30, 1e30, 0.0], 0.0), ([1e38, 1e38, 1e-38, 1e-38], 1.0), ([1e30, 1e30], math.inf)],
)
def test_a_product_passes_beyond_the_range_on_its_way(device, factors, product):
    x = Tensor(factors)
    assert x.prod().item() == pytest.approx(product, rel=1e-6)
    assert x.reshape(-1, 1).prod(axis=0).item() == pytest.approx(product, rel=1e-6)
