"""T1 to T3 of docs/semantics.md: in-place writes, shared tensors, broadcasting."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import babygrad
from babygrad import Tensor, no_grad, ops
from babygrad.backends import registry

pytestmark = pytest.mark.usefixtures("twins")


def leaf(values, dtype):
    return Tensor(values, dtype=dtype, requires_grad=True)


# ----- T1: in-place -----


def test_a_saved_input_that_changed_stops_backward_before_any_gradient(device, dtype):
    w, x, v = (leaf([1.0, 2.0], dtype) for _ in range(3))
    y = (w * x + v).sum()
    with no_grad():
        w -= 2
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()
    assert w.grad is None
    assert x.grad is None
    assert v.grad is None
    np.testing.assert_array_equal(w.data, [-1, 0])


@pytest.mark.parametrize("name", ["exp", "sqrt", "tanh", "sigmoid", "softmax"])
def test_ops_that_save_their_output(device, dtype, name):
    op = getattr(ops, name)
    x = leaf([0.25, 1.0], dtype)
    y = op(x)
    with no_grad():
        y += 1
    with pytest.raises(RuntimeError, match="the output of"):
        y.sum().backward()
    assert x.grad is None

    x = leaf([0.25, 1.0], dtype)
    y = op(x)
    with no_grad():
        x += 1
    y.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x + 1,
        lambda x: x * 2,
        lambda x: x - x,
        lambda x: x.sum(),
        lambda x: x.reshape(2, 1),
        lambda x: ops.concatenate([x, x]),
        lambda x: x[0],
    ],
)
def test_mutating_what_nobody_saved_never_raises(device, dtype, forward):
    x = leaf([1.0, 2.0], dtype)
    y = forward(x)
    with no_grad():
        x += 5
    y.sum().backward()
    assert x.grad.shape == (2,)


def test_a_product_saves_only_what_its_gradients_read(device, dtype):
    x, c = leaf([1.0, 2.0], dtype), Tensor([3.0, 4.0], dtype=dtype)
    y = x * c
    with no_grad():
        x += 5  # only the gradient of c would read it
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 4])


@pytest.mark.parametrize(
    "view", [lambda x: x[0], lambda x: x.reshape(4), lambda x: x.transpose(), lambda x: x[:, ::-1]]
)
def test_a_write_through_a_view_counts_for_its_base(device, dtype, view):
    w = leaf([[1.0, 2.0], [3.0, 4.0]], dtype)
    y = (w * w).sum()
    with no_grad():
        part = view(w)
        part += 1
    assert not np.array_equal(w.data, [[1, 2], [3, 4]]), "not a view"
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_a_write_to_the_base_counts_for_its_views(device, dtype):
    w = leaf([[1.0, 2.0], [3.0, 4.0]], dtype)
    row = w[0]
    y = (row * row).sum()
    with no_grad():
        w *= 2
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


@pytest.mark.parametrize("operator", ["+=", "-=", "*=", "/=", "**=", "[]="])
def test_in_place_on_a_leaf_that_requires_grad(device, dtype, operator):
    w = leaf([1.0, 2.0], dtype)
    before = w.data.copy()
    statement = "w[0] = 5.0" if operator == "[]=" else f"w {operator} 2"
    with pytest.raises(RuntimeError, match="requires grad"):
        exec(statement, {}, {"w": w})
    np.testing.assert_array_equal(w.data, before)


def test_assigning_data_counts_as_a_write(device, dtype):
    w = leaf([1.0, 2.0], dtype)
    y = (w * w).sum()
    w.data = w.data - 1
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_an_optimizer_step_between_forward_and_backward_is_noticed(device, dtype):
    from babygrad.optim import SGD

    w = leaf([1.0, 2.0], dtype)
    (w * w).sum().backward()
    y = (w * w).sum()
    SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_in_place_in_a_graph_is_a_new_tensor(device, dtype):
    x = leaf([1.0, 2.0], dtype)
    y = x * 3
    old = y
    y *= y
    (y + old).sum().backward()
    np.testing.assert_array_equal(old.data, [3, 6])
    np.testing.assert_allclose(x.grad, [18 + 3, 36 + 3])


# ----- T2: sharing -----


def test_shared_tensors(device, dtype):
    x = leaf(2.0, dtype)
    y = 3 * x
    (2 * y + 5 * y).backward()
    assert x.grad == 21
    a = leaf(1.0, dtype)
    b = a + a
    (b + b).backward()
    assert a.grad == 4
    for f, expected in ((lambda x: x * x, 6), (lambda x: x + x, 2)):
        x = leaf(3.0, dtype)
        f(x).backward()
        assert x.grad == expected


def test_equal_leaves_are_two_leaves(device, dtype):
    a, b = leaf(3.0, dtype), leaf(3.0, dtype)
    (a + b).backward()
    assert (a.grad, b.grad) == (1, 1)


def test_independent_passes_accumulate_and_zero_grad_forgets(device, dtype):
    from babygrad import nn

    x = leaf([1.0, 2.0], dtype)
    (x * x).sum().backward()
    first = x.grad.copy()
    (x * 3).sum().backward()
    np.testing.assert_array_equal(first, [2, 4])
    np.testing.assert_array_equal(x.grad, [5, 7])
    model = nn.Linear(2, 1, dtype=dtype)
    model(x).sum().backward()
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Lion", "Muon"])
def test_a_parameter_not_in_the_loss_is_skipped(device, dtype, name):
    from babygrad import optim

    used, unused = leaf([[1.0, 2.0]], dtype), leaf([[3.0, 4.0]], dtype)
    (used * used).sum().backward()
    assert unused.grad is None
    optimizer = (
        getattr(optim, name)([used, unused], lr=0.1, weight_decay=0.5)
        if (name != "Adagrad")
        else optim.Adagrad([used, unused], lr=0.1)
    )
    optimizer.step()
    np.testing.assert_array_equal(unused.data, [[3, 4]])
    assert not np.array_equal(used.data, [[1, 2]])


# A random graph over two leaves: each step combines two earlier values. The oracle multiplies
# dual numbers (value, derivatives in both leaves) forward, without a graph.
STEPS = st.lists(
    st.tuples(st.sampled_from("+-*s"), st.integers(0, 30), st.integers(0, 30)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_random_graphs_agree_with_forward_derivatives(steps):
    with babygrad.device("cpu:numpy"):
        a, b = leaf(0.7, "float64"), leaf(-0.4, "float64")
        tensors = [a, b]
        duals = [(0.7, np.array([1.0, 0.0])), (-0.4, np.array([0.0, 1.0]))]
        for kind, i, j in steps:
            x, y = tensors[i % len(tensors)], tensors[j % len(tensors)]
            (u, du), (v, dv) = duals[i % len(duals)], duals[j % len(duals)]
            if kind == "+":
                tensors.append(x + y)
                duals.append((u + v, du + dv))
            elif kind == "-":
                tensors.append(x - y)
                duals.append((u - v, du - dv))
            elif kind == "*":
                tensors.append(x * y)
                duals.append((u * v, u * dv + v * du))
            else:
                tensors.append(ops.sin(x))
                duals.append((math.sin(u), math.cos(u) * du))
        tensors[-1].backward()
    value, slopes = duals[-1]
    assert tensors[-1].item() == pytest.approx(value, rel=1e-12, abs=1e-12)
    scale = 1e-10 * max(1.0, np.abs(slopes).max())
    for tensor, slope in zip((a, b), slopes, strict=True):
        got = 0.0 if tensor.grad is None else float(tensor.grad)
        assert abs(got - slope) <= scale


# ----- T3: broadcasting -----

SHAPES = st.integers(0, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.integers(0, n),
        st.integers(0, n),
    )
)


@cache
def numba_loads():
    return registry.available()["numba"] is None


def reduced(upstream, shape):
    """Upstream summed over what broadcasting to it repeated: an index-by-index definition."""
    out = np.zeros(shape, upstream.dtype)
    added = upstream.ndim - len(shape)
    for index in np.ndindex(upstream.shape):
        out[tuple(0 if n == 1 else i for i, n in zip(index[added:], shape, strict=True))] += (
            upstream[index]
        )
    return out


@settings(max_examples=80, deadline=None)
@given(
    case=SHAPES, name=st.sampled_from(["add", "subtract", "multiply", "maximum", "where", "power"])
)
def test_any_two_shapes_up_to_rank_4(case, name):
    sizes, ones_a, ones_b, cut_a, cut_b = case
    # At most one of the two has fewer axes.
    shape_a = [1 if one else n for n, one in zip(sizes, ones_a, strict=True)]
    shape_b = [1 if one else n for n, one in zip(sizes, ones_b, strict=True)][cut_b:]
    shape_a = shape_a if cut_b else shape_a[cut_a:]
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.5, 2, shape_a), rng.uniform(0.5, 2, shape_b)
    mask = rng.uniform(size=np.broadcast_shapes(tuple(shape_a), tuple(shape_b))) < 0.5
    local = {  # value, and both derivatives, elementwise
        "add": (x + y, 1.0, 1.0),
        "subtract": (x - y, 1.0, -1.0),
        "multiply": (x * y, y, x),
        "maximum": (np.maximum(x, y), x > y, x < y),
        "where": (np.where(mask, x, y), mask, ~mask),
        "power": (x**y, y * x ** (y - 1), x**y * np.log(x)),
    }[name]
    upstream = rng.normal(size=local[0].shape)
    for device in ("cpu:numpy", "cpu:numba") if numba_loads() else ("cpu:numpy",):
        with babygrad.device(device):
            a, b = leaf(x, "float64"), leaf(y, "float64")
            out = ops.where(mask, a, b) if name == "where" else getattr(ops, name)(a, b)
            out.backward(upstream)
        np.testing.assert_allclose(out.data, local[0], rtol=1e-12)
        for tensor, factor in ((a, local[1]), (b, local[2])):
            assert tensor.grad.shape == tensor.shape
            expected = reduced(upstream * factor, tensor.shape)
            np.testing.assert_allclose(tensor.grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("s", "t"),
    [((), (2, 3)), ((1,), (4,)), ((3, 1), (1, 4)), ((0, 3), (3,)), ((2, 3), ()), ((1, 1), ())],
)
def test_listed_shapes(device, dtype, s, t):
    a, b = leaf(np.full(s, 2.0), dtype), leaf(np.full(t, 3.0), dtype)
    out = a * b
    out.backward()
    np.testing.assert_array_equal(a.grad, np.full(s, 3.0 * out.size / max(a.size, 1)))
    np.testing.assert_array_equal(b.grad, np.full(t, 2.0 * out.size / max(b.size, 1)))
    assert a.grad.dtype == b.grad.dtype == np.dtype(dtype)


def test_a_scalar_operand(device, dtype):
    a = leaf([1.0, 2.0], dtype)
    (3 * a + 1).sum().backward()
    np.testing.assert_array_equal(a.grad, [3, 3])


@pytest.mark.parametrize(
    ("s", "t"),
    [
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 2)),
        ((3, 4), (4, 2)),
        ((1, 3, 4), (5, 4, 2)),
        ((5, 1, 3, 4), (6, 4, 2)),
        ((2, 0), (0, 3)),
    ],
)
def test_matmul(device, dtype, s, t):
    rng = np.random.default_rng(1)
    x, y = rng.integers(-3, 4, s).astype("float64"), rng.integers(-3, 4, t).astype("float64")
    a, b = leaf(x, dtype), leaf(y, dtype)
    out = a @ b
    expected = np.matmul(x, y)
    np.testing.assert_array_equal(out.data, expected)
    out.backward()
    # With ones upstream: the gradient of a[.., i, k] is the sum over j of b[.., k, j].
    x2, y2 = (x[None] if x.ndim == 1 else x), (y[:, None] if y.ndim == 1 else y)
    g = np.ones(np.matmul(x2, y2).shape)
    ga = reduced(np.einsum("...ij,...kj->...ik", g, y2), x2.shape).reshape(s)
    gb = reduced(np.einsum("...ik,...ij->...kj", x2, g), y2.shape).reshape(t)
    np.testing.assert_array_equal(a.grad, ga)
    np.testing.assert_array_equal(b.grad, gb)


def test_tensor_bounds_of_clamp(device, dtype):
    x, low = leaf([[1.0, 5.0, -2.0], [0.0, 9.0, 3.0]], dtype), leaf([0.5, 6.0, 0.0], dtype)
    out = ops.clamp(x, low, 7.0)
    np.testing.assert_array_equal(out.data, [[1, 6, 0], [0.5, 7, 3]])
    out.backward()
    np.testing.assert_array_equal(x.grad, [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(low.grad, [1, 1, 1])
