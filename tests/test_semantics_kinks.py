"""T7 to T9 of docs/semantics.md: ties, subgradients and masked branches."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from babygrad import Tensor, ops

pytestmark = pytest.mark.usefixtures("twins")

INF, NAN = math.inf, math.nan


def leaf(values, dtype="float32"):
    return Tensor(values, dtype=dtype, requires_grad=True)


def gradient(f, x, dtype, upstream=None):
    """Of f at x, for this upstream gradient or ones."""
    t = leaf(x, dtype)
    f(t).backward(None if upstream is None else np.asarray(upstream, dtype))
    return t.grad


# ----- T7: ties -----


def test_max_and_min_over_all_share_equally(device, dtype):
    np.testing.assert_array_equal(gradient(ops.max, [1, 1, 0], dtype), [0.5, 0.5, 0])
    np.testing.assert_array_equal(
        gradient(ops.min, [1, 0, 0, 0], dtype), np.array([0, 1, 1, 1], dtype) / 3
    )


def test_max_and_min_along_an_axis_share_equally(device, dtype):
    x = [[2, 2, 1], [0, 3, 3]]
    for f in (lambda t: ops.max(t, axis=1), lambda t: t.max(axes=1), lambda t: t.max(1)):
        np.testing.assert_array_equal(gradient(f, x, dtype, [1, 10]), [[0.5, 0.5, 0], [0, 5, 5]])
    np.testing.assert_array_equal(
        gradient(lambda t: t.min(axis=0, keepdims=True), [[1, 2], [1, 0]], dtype),
        [[0.5, 0], [0.5, 1]],
    )


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_maximum_gives_half_to_each(device, dtype, name):
    a, b = leaf([1, 2, 3], dtype), leaf([1, 3, 2], dtype)
    getattr(ops, name)(a, b).backward(np.array([1, 10, 100], dtype))
    first = [0.5, 0, 100] if name == "maximum" else [0.5, 10, 0]
    np.testing.assert_array_equal(a.grad, first)
    np.testing.assert_array_equal(b.grad, np.array([1, 10, 100]) - first)
    np.testing.assert_array_equal(gradient(lambda x: getattr(ops, name)(x, x), [4.0], dtype), [1])


def test_argmax_gives_the_first(device, dtype):
    x = Tensor([[1, 5, 5], [7, 7, 0]], dtype=dtype)
    np.testing.assert_array_equal(ops.argmax(x, 1).data, [1, 0])
    np.testing.assert_array_equal(ops.argmin(Tensor([3, 1, 1], dtype=dtype)).data, 1)


def test_max_pool_gives_all_to_the_first(device, dtype):
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 2, 3] = 1
    found = gradient(lambda t: ops.max_pool2d(t, 2), x, dtype)
    expected = np.zeros((4, 4))
    expected[[0, 0, 2, 2], [0, 2, 0, 3]] = 1
    np.testing.assert_array_equal(found[0, 0], expected)


@pytest.mark.parametrize(
    "f",
    [
        ops.max,
        lambda t: ops.max(t, axis=0),
        lambda t: ops.min(t, axis=1),
        lambda t: ops.maximum(t, 1.0),
        lambda t: ops.max_pool2d(t.reshape(1, 1, 4, 6), 2),
    ],
)
def test_no_gradient_is_lost_or_made(device, f):
    x = np.random.default_rng(0).integers(0, 3, (4, 6))
    t = leaf(x, "float64")
    out = f(t)
    upstream = np.random.default_rng(1).integers(1, 9, out.shape).astype("float64")
    out.backward(upstream)
    if out.shape == t.shape:  # maximum with the constant 1: half of the gradient at a tie is its
        expected = (upstream * np.where(x > 1, 1, np.where(x == 1, 0.5, 0))).sum()
    else:
        expected = upstream.sum()
    assert t.grad.sum() == pytest.approx(expected, rel=1e-14)


def test_nested_maxima(device, dtype):
    def f(x):
        for _ in range(2):
            x = ops.concatenate([ops.max(x).reshape(1), x])
        return x

    np.testing.assert_array_equal(gradient(f, [2.0], dtype), [3])


# ----- T8: subgradients -----


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (ops.relu, [-1, 0, 2], [0, 0, 1]),
        (ops.abs, [-2, 0, 3], [-1, 0, 1]),
        (ops.sign, [-2, 0, 3], [0, 0, 0]),
        (lambda x: ops.clamp(x, -1, 2), [-2, -1, 0, 2, 3], [0, 1, 1, 1, 0]),
        (ops.hardtanh, [-2, -1, 0, 1, 3], [0, 1, 1, 1, 0]),
        (lambda x: ops.leaky_relu(x, 0.125), [-1, 0, 2], [0.125, 0.125, 1]),
        (ops.norm, [0, 0], [0, 0]),
        (lambda x: ops.norm(x) ** 2, [0, 0], [0, 0]),
        (ops.sqrt, [0, 4], [INF, 0.25]),
        (ops.log, [0, 4], [INF, 0.25]),
        (lambda x: x**0, [0, 2, -3], [0, 0, 0]),
        (lambda x: x**1, [0, 2, -3], [1, 1, 1]),
        (lambda x: x**2, [-2, 0], [-4, 0]),
        (ops.prod, [2, 0, 3], [0, 6, 0]),
        (ops.prod, [2, 0, 0], [0, 0, 0]),
        (ops.floor, [0, 1.5], [0, 0]),
        (ops.round, [0.5, 1.5], [0, 0]),
    ],
)  # fmt: skip
def test_gradients_at_kinks_and_poles(device, dtype, f, x, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(gradient(f, x, dtype), expected)


@pytest.mark.parametrize("f", [ops.sqrt, ops.log, ops.rsqrt, ops.log2, ops.reciprocal])
def test_a_zero_upstream_gradient_stays_zero_at_a_pole(device, dtype, f):
    x = leaf([0, 4], dtype)
    f(x).backward(np.array([0, 1], dtype))
    assert x.grad[0] == 0
    assert np.isfinite(x.grad).all()


def test_power_of_two_tensors(device, dtype):
    a, b = leaf([0, 0, 0, 0, 2], dtype), leaf([0, 1, 2, 0.5, 3], dtype)
    (a**b).backward()
    # at 0 ** 0.5 the derivative is infinite
    np.testing.assert_allclose(a.grad, [0, 1, 0, INF, 12], rtol=1e-6)
    np.testing.assert_allclose(b.grad, [0, 0, 0, 0, 8 * math.log(2)], rtol=1e-6)


def test_a_negative_base_with_a_whole_exponent(device, dtype):
    a = leaf([-2.0], dtype)
    y = a ** Tensor([2.0], dtype=dtype)
    assert y.item() == 4
    y.backward()
    np.testing.assert_array_equal(a.grad, [-4])
    a, b = leaf([-2.0], dtype), leaf([2.0], dtype)
    (a**b).backward()
    np.testing.assert_array_equal(a.grad, [-4])
    assert np.isnan(b.grad[0])


@pytest.mark.parametrize("f", [ops.var, ops.std])
def test_variance_of_one_element_warns(device, dtype, f):
    x = Tensor([[3.0], [4.0]], dtype=dtype)
    with pytest.warns(RuntimeWarning, match=r"axes \(1,\)"):
        y = f(x, axis=1)
    assert np.isnan(y.data).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(f(x, axis=1, correction=0).data, [0, 0])


def test_prod_of_zeros_has_the_right_second_derivative(device):
    import babygrad

    x = leaf([0.0, 2.0, 3.0], "float64")
    first = babygrad.grad(ops.prod(x), x, create_graph=True)
    second = babygrad.grad((first * Tensor([1.0, 10.0, 100.0], dtype="float64")).sum(), x)
    # d/dx_j of sum_i c_i prod_{k != i} x_k at (0, 2, 3)
    np.testing.assert_allclose(second.data, [10 * 3 + 100 * 2, 1 * 3 + 100 * 0, 1 * 2 + 10 * 0])


# ----- T9: where -----


def test_the_branch_not_taken_has_no_gradient(device, dtype):
    def f(x):
        return ops.where(x < 1, x, ops.sqrt(x))

    np.testing.assert_array_equal(gradient(f, [0.0, 4.0], dtype), [1, 0.25])


@pytest.mark.parametrize(
    "pole",
    [
        ops.sqrt,
        ops.rsqrt,
        ops.log,
        lambda x: 1 / x,
        lambda x: Tensor(1.0, dtype=x.dtype) / x,
        lambda x: x**0.5,
        lambda x: x**-1,
        lambda x: Tensor(2.0, dtype=x.dtype) ** (1 / x),
        lambda x: ops.norm(x.reshape(-1, 1), axis=1),
        lambda x: ops.exp(1 / x),
    ],
)
def test_poles_behind_a_mask(device, dtype, pole):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gradient(lambda x: ops.where(x < 1, x * 3, pole(x)), [0.0, 0.5], dtype)
    np.testing.assert_array_equal(found, [3, 3])


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_a_value_not_taken_does_not_reach_the_gradient(device, dtype, value):
    a, b = leaf([1.0, value], dtype), leaf([value, 2.0], dtype)
    y = ops.where([True, False], a, b)
    np.testing.assert_array_equal(y.data, [1, 2])
    (y * 5).backward()
    np.testing.assert_array_equal(a.grad, [5, 0])
    np.testing.assert_array_equal(b.grad, [0, 5])
