"""Matrix products: all of numpy's shape rules against a naive loop, linear, einsum, messages."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((3,), (5, 3, 2)),
    ((1, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((2, 0), (0, 3)),
    ((0, 3), (3, 2)),
]


def naive(equation: str, *arrays: np.ndarray) -> np.ndarray:
    """The sum that an equation without ellipses means, index by index, in float64."""
    terms, result = equation.split("->")[0].split(","), equation.split("->")[1]
    size = {c: n for t, a in zip(terms, arrays, strict=True) for c, n in zip(t, a.shape)}  # noqa: B905
    out = np.zeros([size[c] for c in result])
    for values in itertools.product(*(range(n) for n in size.values())):
        at = dict(zip(size, values, strict=True))
        product = 1.0
        for term, array in zip(terms, arrays, strict=True):
            product *= float(array[tuple(at[c] for c in term)])
        out[tuple(at[c] for c in result)] += product
    return out


def values(shape: tuple[int, ...], seed: int, dtype: str = "float64") -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).uniform(-1, 1, shape)).astype(dtype)


def matmul_equation(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Shapes with their leading axes broadcast, and the equation of their product."""
    lead = np.broadcast_shapes(a[:-2], b[:-2])
    batch = "pqr"[: len(lead)]
    left = batch + "mk" if len(a) > 1 else "k"
    right = batch + "kn" if len(b) > 1 else "k"
    if len(a) == 1:
        left = "k"
    result = batch + ("m" if len(a) > 1 else "") + ("n" if len(b) > 1 else "")
    return f"{left},{right}->{result}", lead


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_matmul_shapes(a, b, device: str, dtype: str) -> None:
    x, y = values(a, 1, dtype), values(b, 2, dtype)
    equation, lead = matmul_equation(a, b)
    xx = np.broadcast_to(x, lead + a[-2:]) if len(a) > 1 else x
    yy = np.broadcast_to(y, lead + b[-2:]) if len(b) > 1 else y
    expected = naive(equation, xx, yy)
    s, t = (Tensor(v, dtype=None, requires_grad=True) for v in (x, y))
    got = s @ t
    assert got.shape == expected.shape
    # Three products below 1, added up: at most six roundings.
    np.testing.assert_allclose(got.data, expected, atol=6 * np.finfo(dtype).eps)
    got.sum().backward()
    assert (s.grad.shape, t.grad.shape) == (a, b)


@pytest.mark.parametrize("layout", [lambda x: x.T, lambda x: x[::-1], lambda x: x[:, ::2]])
def test_any_layout(layout, device: str) -> None:
    x = layout(values((4, 4), 3))
    y = values((x.shape[1], 3), 4)
    got = babygrad.from_numpy(x) @ babygrad.from_numpy(y)
    np.testing.assert_allclose(got.data, naive("mk,kn->mn", x, y), atol=1e-14)


def test_integers(device: str) -> None:
    a = Tensor([[1, 2], [3, 4]], dtype="int64")
    assert (a @ a).dtype == "int64"
    assert (a @ a).tolist() == [[7, 10], [15, 22]]
    assert (a @ Tensor([1.0, 1.0])).tolist() == [3, 7]


def test_hessian_of_a_quadratic_form(device: str) -> None:
    matrix = values((3, 3), 5)
    x = Tensor(values((3,), 6), dtype="float64", requires_grad=True)
    form = x @ Tensor(matrix, dtype="float64") @ x
    first = babygrad.grad(form, x, create_graph=True)
    rows = [babygrad.grad(first[i], x, retain_graph=True).data for i in range(3)]
    np.testing.assert_allclose(rows, matrix + matrix.T, atol=1e-12)


@pytest.mark.parametrize("bias", [None, (4,), (1, 4)])
@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_linear(lead, bias, device: str, dtype: str) -> None:
    x, w = values((*lead, 3), 1, dtype), values((3, 4), 2, dtype)
    b = None if bias is None else values(bias, 3, dtype)
    expected = naive("mk,kn->mn", x.reshape(-1, 3), w).reshape(*lead, 4)
    expected = expected if b is None else expected + b.reshape(4).astype("float64")
    given = [Tensor(v, dtype=None, requires_grad=True) for v in (x, w, b) if v is not None]
    got = ops.linear(*given)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.data, expected, atol=8 * np.finfo(dtype).eps)
    got.sum().backward()
    assert [t.grad.shape for t in given] == [t.shape for t in given]


@pytest.mark.parametrize("stored", ["in_out", "out_in"])
def test_a_weight_gradient_has_the_memory_order_of_the_weight(stored: str, device: str) -> None:
    x, w, gy = values((4, 5), 1), values((5, 3), 2), values((4, 3), 3)
    transposed = stored == "out_in"
    kept = Tensor(w.T.copy() if transposed else w, dtype="float64", requires_grad=True)
    weight = kept.transpose() if transposed else kept
    ops.linear(Tensor(x, dtype="float64"), weight).backward(Tensor(gy, dtype="float64"))
    assert kept.grad is not None and kept.grad.flags.c_contiguous
    expected = x.T @ gy
    np.testing.assert_allclose(kept.grad, expected.T if transposed else expected, atol=1e-14)


@pytest.mark.parametrize(
    ("activation", "f"),
    [
        ("relu", lambda z: np.where(z > 0, z, 0)),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        ("tanh", np.tanh),
    ],
)
@pytest.mark.parametrize("bias", [None, (1, 4)])
def test_linear_with_an_activation(activation: str, f, bias, device: str, dtype: str) -> None:
    x, w = values((2, 5, 3), 1, dtype), values((3, 4), 2, dtype)
    b = None if bias is None else values(bias, 3, dtype)
    z = naive("mk,kn->mn", x.reshape(-1, 3), w) + (0 if b is None else b.astype("float64"))
    expected = f(z).reshape(2, 5, 4)
    given = [Tensor(v, dtype=None, requires_grad=True) for v in (x, w, b) if v is not None]
    got = ops.linear(*given, activation=activation)
    assert got.dtype == dtype
    np.testing.assert_allclose(got.data, expected, atol=16 * np.finfo(dtype).eps)
    if dtype == "float64":

        def function(*tensors: Tensor) -> Tensor:
            return ops.linear(*tensors, activation=activation)

        assert babygrad.gradcheck(function, given)
        assert babygrad.gradgradcheck(function, given)


def test_linear_with_an_activation_keeps_no_sum_and_guards_its_result(device: str) -> None:
    x, w = Tensor(values((2, 3), 1)), Tensor(values((3, 4), 2), requires_grad=True)
    y = ops.linear(x, w, activation="tanh")
    with babygrad.no_grad():
        y += 1
    with pytest.raises(RuntimeError, match="in place"):
        y.sum().backward()


def test_linear_computes_only_what_is_asked_for(device: str) -> None:
    x, w = Tensor(values((2, 3), 1)), Tensor(values((3, 4), 2), requires_grad=True)
    y = ops.linear(x, w, Tensor(np.zeros(4)))
    gradients = y._op.backward(Tensor(np.ones((2, 4))), y)
    assert [g is None for g in gradients] == [True, False, True]


def test_dot_and_outer(device: str) -> None:
    a, b = Tensor([1.0, 2.0, 3.0]), Tensor([4.0, 5.0, 6.0])
    assert a.dot(b).item() == 32
    assert a.outer(b[:2]).tolist() == [[4, 5], [8, 10], [12, 15]]


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]),
        ("ii->i", [(3, 3)]),
        ("ii->", [(3, 3)]),
        ("iji->j", [(3, 2, 3)]),
        ("iii->i", [(2, 2, 2)]),
        ("ij->ji", [(2, 3)]),
        ("i,j->ij", [(2,), (3,)]),
        ("bhqd,bhkd->bhqk", [(2, 1, 3, 2), (2, 1, 2, 2)]),
        ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 3)]),
        ("i,i,i->", [(3,), (3,), (3,)]),
        ("ij,k->k", [(2, 3), (4,)]),
    ],
)
def test_einsum(equation: str, shapes, device: str, dtype: str) -> None:
    arrays = [values(s, i, dtype) for i, s in enumerate(shapes)]
    got = ops.einsum(equation, *[Tensor(a, dtype=None) for a in arrays])
    np.testing.assert_allclose(got.data, naive(equation, *arrays), atol=40 * np.finfo(dtype).eps)


def test_einsum_ellipsis_and_implicit_result(device: str) -> None:
    x, y = values((2, 3, 2, 4), 1), values((2, 3, 4, 2), 2)
    s, t = Tensor(x, dtype=None), Tensor(y, dtype=None)
    expected = naive("abij,abjk->abik", x, y)
    np.testing.assert_allclose(ops.einsum("...ij,...jk->...ik", s, t).data, expected, atol=1e-12)
    np.testing.assert_allclose(ops.einsum("...ij,...jk", s, t).data, expected, atol=1e-12)
    square = Tensor(x[0, 0, :, :2], dtype=None)
    np.testing.assert_allclose(ops.einsum("ii", square).item(), x[0, 0, 0, 0] + x[0, 0, 1, 1])
    np.testing.assert_allclose(ops.einsum("ba", square).data, x[0, 0, :, :2].T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Tensor(np.ones((2, 3))) @ Tensor(np.ones((4, 5))),
            "matmul: shapes (2, 3) and (4, 5) do not fit: the last axis of a has size 3, "
            "axis -2 of b has size 4",
        ),
        (
            lambda: Tensor(np.ones((2, 3))) @ Tensor(np.ones(4)),
            "matmul: shapes (2, 3) and (4,) do not fit: the last axis of a has size 3, "
            "axis 0 of b has size 4",
        ),
        (
            lambda: Tensor(np.ones((2, 1, 3))) @ Tensor(np.ones((4, 3, 1))),
            "matmul: shapes (2,) and (4,) do not broadcast",
        ),
        (
            lambda: Tensor(1.0) @ Tensor([1.0]),
            "matmul: shapes () and (1,); both operands must have at least one axis",
        ),
        (
            lambda: ops.linear(Tensor(np.ones((2, 3))), Tensor(np.ones((4, 3)))),
            "linear: x has shape (2, 3) and weight (4, 3); they must be (..., I) and (I, O)",
        ),
        (
            lambda: ops.linear(Tensor([1.0]), Tensor([[1.0]]), activation="gelu"),
            "linear: activation (='gelu') must be one of relu, sigmoid, tanh, or None",
        ),
        (
            lambda: ops.linear(Tensor([1.0]), Tensor([[1.0, 2.0]]), Tensor([1.0])),
            "linear: bias has shape (1,); it must be (2,) or (1, 2) for a weight of shape (1, 2)",
        ),
        (
            lambda: ops.dot(Tensor([1.0]), Tensor([1.0, 2.0])),
            "dot: shapes (1,) and (2,) must be (N,) and (N,)",
        ),
        (
            lambda: ops.einsum("ij,jk->ik", Tensor(np.ones((2, 3))), Tensor(np.ones((4, 2)))),
            "einsum: index 'j' of 'ij,jk->ik' has sizes 3 and 4",
        ),
        (
            lambda: ops.einsum("ij->k", Tensor(np.ones((2, 3)))),
            "einsum: 'ij->k' has ['k'] in the result only",
        ),
        (
            lambda: ops.einsum("ij,jk", Tensor(np.ones((2, 3)))),
            "einsum: 'ij,jk' is for 2 operands, not 1",
        ),
        (
            lambda: ops.einsum("ijk->i", Tensor(np.ones((2, 3)))),
            "einsum: 'ijk' in 'ijk->i' does not fit 2 axes",
        ),
    ],
)
def test_messages(call, message: str, device: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
