"""Reductions: values against naive float64 loops, accumulation, NaN, ties, zeros, messages."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

INF, NAN = math.inf, math.nan
AXES = [None, 0, 1, -1, (0, 2), (0, 1, 2), ()]
X = np.random.default_rng(3).standard_normal((2, 3, 4))


def leaf(values: object) -> Tensor:
    return Tensor(values, dtype="float64", requires_grad=True)


def grad(out: Tensor, x: Tensor) -> list[float]:
    return babygrad.grad(out.sum(), x).tolist()


def by_slices(function, x, axes, keepdims):
    """`function` of the list of values of each slice, by plain indexing."""
    over = range(x.ndim) if axes is None else [a % x.ndim for a in np.atleast_1d(axes).astype(int)]
    kept = [i for i in range(x.ndim) if i not in over]
    out = np.empty([1 if i in over else n for i, n in enumerate(x.shape)])
    for where in np.ndindex(out.shape):
        ranges = [[where[i]] if i in kept else range(n) for i, n in enumerate(x.shape)]
        out[where] = function([float(x[i]) for i in itertools.product(*ranges)])
    return out if keepdims else out.reshape([x.shape[i] for i in kept])


def variance(values, correction=1):
    centre = math.fsum(values) / len(values)
    squares = math.fsum((v - centre) ** 2 for v in values)
    return squares / (len(values) - correction) if len(values) > correction else NAN


ORACLES = {
    "summation": math.fsum,
    "mean": lambda v: math.fsum(v) / len(v),
    "var": variance,
    "std": lambda v: math.sqrt(variance(v)),
    "prod": math.prod,
    "max": max,
    "min": min,
    "norm": lambda v: math.sqrt(math.fsum(a * a for a in v)),
    "logsumexp": lambda v: math.log(math.fsum(map(math.exp, v))),
    "any": any,
    "all": all,
}


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.filterwarnings("ignore:(var|std). 1 element:RuntimeWarning")
def test_value(name: str, axes, keepdims: bool, device: str, dtype: str) -> None:
    x = X.astype(dtype)
    expected = by_slices(ORACLES[name], x, axes, keepdims)
    t = Tensor(x, dtype=None)
    got = getattr(ops, name)(t, axes=axes, keepdims=keepdims)
    assert got.shape == expected.shape
    # Twice the rounding of 24 additions; a variance squares, a product multiplies its factors.
    np.testing.assert_allclose(got.data, expected, rtol=50 * np.finfo(dtype).eps, atol=1e-6)
    same = getattr(t, "sum" if name == "summation" else name)(axis=axes, keepdims=keepdims)
    np.testing.assert_array_equal(same.data, got.data)


@pytest.mark.parametrize("layout", [lambda x: x.T, lambda x: x[::2, ::-1], np.asfortranarray])
def test_any_layout(layout, device: str) -> None:
    x = layout(X)
    for axis in (0, 1, 2):
        expected = by_slices(math.fsum, x, axis, False)
        got = ops.summation(babygrad.from_numpy(x), axis)
        np.testing.assert_allclose(got.data, expected, atol=1e-12)


def test_integers_and_bools(device: str) -> None:
    ints, bools = Tensor([[1, 2], [3, 4]], dtype="int8"), Tensor([True, True], dtype="bool")
    assert (ints.sum().dtype, ints.sum().item()) == ("int64", 10)
    assert (bools.sum().dtype, bools.sum().item()) == ("int64", 2)
    assert (ints.mean().dtype, ints.mean().item()) == ("float32", 2.5)
    assert ints.prod().dtype == "int64"
    assert (ints.max().dtype, ints.max().item()) == ("int8", 4)
    assert Tensor([16777217, 16777217], dtype="int64").mean().item() == 16777216.0
    assert ints.argmax().dtype == "int64"


def test_float32_sums_do_not_stall(device: str) -> None:
    ones = babygrad.from_numpy(np.ones((2**24 + 8, 1), "float32"))
    assert ones.sum().item() == 2**24 + 8
    assert ones.sum(axis=0).tolist() == [2**24 + 8]
    assert ones.mean(axis=0).tolist() == [1.0]


# ----- T7, T8, T15, T17 -----


def test_ties_share_the_gradient(device: str) -> None:
    x = leaf([1.0, 1.0, 0.0])
    assert grad(x.max(), x) == [0.5, 0.5, 0]
    assert grad(x.max(axis=0), x) == [0.5, 0.5, 0]
    assert grad((-x).min(), x) == [-0.5, -0.5, 0]
    x = leaf([[2.0, 2.0], [1.0, 3.0]])
    assert grad(x.max(axis=1, keepdims=True), x) == [[0.5, 0.5], [0, 1]]
    x = leaf([1.0])
    nested = ops.concatenate((x.max().reshape(1), x))
    nested = ops.concatenate((nested.max().reshape(1), nested))
    assert grad(nested, x) == [3.0]


def test_max_of_nan_gives_it_the_gradient(device: str) -> None:
    x = leaf([1.0, NAN, 3.0])
    y = x.max()
    assert math.isnan(y.item())
    assert grad(y, x) == [0, 1, 0]


def test_product_with_zeros(device: str) -> None:
    x = leaf([2.0, 0.0, 3.0])
    assert grad(x.prod(), x) == [0, 6, 0]
    x = leaf([[0.0, 0.0, 3.0], [2.0, 4.0, 5.0]])
    assert grad(x.prod(axis=1), x) == [[0, 0, 0], [20, 10, 8]]


def test_norm_at_zero(device: str) -> None:
    x = leaf([0.0, 0.0])
    assert grad(ops.norm(x), x) == [0, 0]
    assert grad(ops.norm(x) ** 2, x) == [0, 0]
    assert grad(ops.norm(x, order=1), x) == [0, 0]
    x = leaf([[2.0, 2.0], [2.0, 2.0]])
    assert grad(ops.std(x, axis=1), x) == [[0, 0], [0, 0]]


@pytest.mark.parametrize("name", ["var", "std"])
def test_spread_of_one_element_warns(name: str, device: str) -> None:
    x = Tensor([[1.0], [2.0]])
    with pytest.warns(RuntimeWarning, match=re.escape(f"{name}: 1 element(s) over axes (1,)")):
        y = getattr(ops, name)(x, axis=1)
    assert np.isnan(y.data).all()
    assert getattr(ops, name)(x, axis=1, correction=0).tolist() == [0, 0]


def test_variance_is_two_pass(device: str) -> None:
    x = Tensor([10000.0, 10001.0, 10002.0, 10003.0])
    assert ops.var(x, correction=0).item() == 1.25


def test_variance_far_from_zero(device: str, dtype: str) -> None:
    # Exact in float32, whose numbers are 8 apart there; their mean is not one of them.
    values = [1e8, 1e8 + 8, 1e8 + 32, 1e8 + 80]
    x = Tensor(values, dtype=dtype, requires_grad=True)
    assert ops.var(x, correction=0).item() == variance(values, 0) == 972


def test_variance_differentiates_twice(device: str) -> None:
    values = [0.5, -1.0, 2.5, 4.0]
    x, mean = leaf(values), math.fsum(values) / 4
    first = babygrad.grad(ops.var(x), x, create_graph=True)
    assert first.tolist() == pytest.approx([2 * (v - mean) / 3 for v in values], rel=1e-15)
    # The second derivative along u is 2 (u - mean(u)) / 3.
    along = grad(first * Tensor([1.0, 0, 0, 0], dtype="float64"), x)
    assert along == pytest.approx([0.5, -1 / 6, -1 / 6, -1 / 6], rel=1e-15)


@pytest.mark.parametrize("correction", [2, 3])
def test_variance_without_degrees_of_freedom(correction: float, device: str) -> None:
    x = leaf([1.0, 3.0])
    with pytest.warns(RuntimeWarning, match=f"2 element.*correction={correction} give NaN"):
        y = ops.var(x, correction=correction)
    assert math.isnan(y.item())
    assert np.isnan(grad(y, x)).all()


def test_logsumexp(device: str, dtype: str) -> None:
    x = Tensor([[-INF, -INF], [INF, 0.0], [-INF, 1.0]], dtype=dtype, requires_grad=True)
    y = ops.logsumexp(x, axis=1)
    assert y.tolist() == [-INF, INF, 1]
    y.sum().backward()
    np.testing.assert_allclose(x.grad, [[0, 0], [1, 0], [0, 1]])
    x = Tensor([1e4, 1e4], dtype=dtype, requires_grad=True)
    y = ops.logsumexp(x)
    np.testing.assert_allclose(y.data, np.array(1e4 + math.log(2), dtype))
    y.backward()
    np.testing.assert_allclose(x.grad, [0.5, 0.5])


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 67])
def test_nan_at_every_position(length: int, device: str, dtype: str) -> None:
    for position in {0, length // 2, length - 1}:
        x = np.arange(length, dtype=dtype)
        x[position] = NAN
        t = Tensor(x, dtype=None)
        assert math.isnan(t.max().item())
        assert math.isnan(t.min().item())
        assert (t.argmax().item(), t.argmin().item()) == (position, position)
        assert np.isnan(t.reshape(1, -1).max(axis=1).data).all()
    assert math.isnan(Tensor([INF, -INF], dtype=dtype).sum().item())


# ----- argmax, cumsum -----


def test_argmax_is_the_first(device: str) -> None:
    x = Tensor([[1.0, 3.0, 3.0], [5.0, 5.0, 0.0]])
    assert x.argmax().item() == 3
    assert x.argmax(1).tolist() == [1, 0]
    assert x.argmax(axis=0, keepdims=True).tolist() == [[1, 1, 0]]
    assert x.argmin(-1).tolist() == [0, 2]


def test_cumsum(device: str, dtype: str) -> None:
    x = Tensor([[1, 2, 3], [4, 5, 6]], dtype=dtype)
    assert x.cumsum(1).tolist() == [[1, 3, 6], [4, 9, 15]]
    assert x.cumsum(-2).tolist() == [[1, 2, 3], [5, 7, 9]]
    assert Tensor([True, True], dtype="bool").cumsum(0).tolist() == [1, 2]


def test_norms(device: str) -> None:
    x = Tensor([[3.0, -4.0], [0.0, 1.0]])
    assert ops.norm(x, axis=1).tolist() == [5, 1]
    assert ops.norm(x, order=1).item() == 8
    assert ops.norm(x, order=math.inf, axis=0).tolist() == [3, 4]
    assert ops.norm(x, order=-math.inf, axis=0).tolist() == [0, 1]
    assert ops.norm(x, order=0, axis=1).tolist() == [2, 1]


@pytest.mark.parametrize("order", [3, 1.5, 0.5, -1, -2.5])
def test_norms_of_other_orders(order: float, device: str) -> None:
    values = X[0].copy()
    x = leaf(values)
    norms = ops.norm(x, axis=1, order=order)
    for row, got in zip(values, norms.tolist(), strict=True):
        exact = math.fsum(abs(v) ** order for v in row) ** (1 / order)
        assert abs(got - exact) <= 1e-14 * exact
    # An element that is 0 has no say, or for a negative order the only one.
    zeros = leaf([[0.0, 3.0], [0.0, 0.0]])
    norms = ops.norm(zeros, axis=1, order=order)
    assert norms.tolist() == pytest.approx([3.0 if order > 0 else 0.0, 0.0], rel=1e-15)
    assert grad(norms, zeros) == [[0, pytest.approx(1.0) if order > 0 else 0], [0, 0]]


def test_empty(device: str) -> None:
    empty = Tensor(np.zeros((0, 3)))
    assert empty.sum().item() == 0
    assert empty.sum(0).tolist() == [0, 0, 0]
    assert empty.prod(0).tolist() == [1, 1, 1]
    assert math.isnan(empty.mean().item())
    assert empty.max(axis=1).shape == (0,)
    assert (empty.any().item(), empty.all().item()) == (False, True)


# ----- Messages -----


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: x.sum(2),
            ValueError,
            "sum: axis 2 is out of range for a tensor of shape (2, 3)",
        ),
        (lambda x: x.mean((0, -2)), ValueError, "mean: axes (0, -2) name an axis twice"),
        (lambda x: x.max(0.5), TypeError, "max: axis (=0.5) must be an integer"),
        (
            lambda x: x.sum(axes=0, axis=1),
            TypeError,
            "sum: give axes (=0) or axis (=1), not both",
        ),
        (
            lambda x: x[:0].max(0),
            ValueError,
            "max: axis 0 of shape (0, 3) is empty; it has no max",
        ),
        (
            lambda x: x[:0].argmin(),
            ValueError,
            "argmin: axis 0 of shape (0, 3) is empty; it has no argmin",
        ),
        (lambda x: ops.norm(x, order="nuc"), ValueError, "norm: order (='nuc') must be a number"),
    ],
)
def test_messages(call, error, message: str, device: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(Tensor(np.ones((2, 3))))


@pytest.mark.parametrize(("order", "length"), [(3, 0), (0.5, 0), (2, 0), (-1, math.inf)])
def test_norms_of_nothing(order: float, length: float, device: str, dtype: str) -> None:
    x = Tensor(np.zeros((0, 2)), dtype=dtype, requires_grad=True)
    assert ops.norm(x, axis=0, order=order).tolist() == [length] * 2
    assert ops.norm(x, axis=1, order=order, keepdims=True).shape == (0, 1)
    ops.norm(x, order=order).backward()
    assert x.grad.shape == (0, 2)
