"""Einstein summation against numpy's, with axes that broadcast and indices given as lists."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


# What broadcasts: the equation and the operands' shapes.
EQUATIONS = [
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    ("...ij,...jk->...ik", (3, 4), (5, 4, 2)),
    ("...ij,...jk", (1, 3, 4), (2, 4, 2)),
    ("i...,...i->...", (3, 2, 1), (4, 3)),
    ("i...j,j...i->...", (3, 2, 4), (4, 1, 3)),
    ("...,...", (2, 1), (3,)),
    ("...,...->...", (), (2, 3)),
    ("...a,...a,...->a...", (2, 1, 3), (1, 3), (4,)),
    ("...ii->...i", (1, 3, 3)),
    ("...i,...i->i...", (0, 3), (1, 3)),
    ("ij,jk->ik", (2, 1), (3, 4)),
    ("ij,jk->ik", (2, 3), (1, 4)),
    ("ij,ij->", (1, 3), (2, 1)),
    ("ij,ij->ij", (1, 3), (2, 1)),
    ("ij,ij,ij->j", (1, 3), (2, 1), (2, 3)),
    ("ab,bc,cd->ad", (2, 1), (3, 1), (4, 2)),
    ("ab,bc,cd", (1, 1), (3, 1), (4, 2)),
    ("i,i->i", (1,), (0,)),
    ("iij,ik->jk", (2, 2, 3), (1, 4)),
    ("ij,j->", (1, 1), (1,)),
]


@pytest.mark.parametrize("case", EQUATIONS, ids=str)
def test_axes_of_size_1_and_those_of_an_ellipsis_broadcast(case, device: str, dtype: str) -> None:
    equation, *shapes = case
    values = arrays(*shapes)
    got = ops.einsum(equation, *(Tensor(v, dtype=dtype) for v in values))
    want = np.einsum(equation, *values)
    assert (got.shape, str(got.dtype)) == (want.shape, dtype)
    rtol = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(got.data, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "case", [c for c in EQUATIONS if (0, 3) not in c and (0,) not in c], ids=str
)
def test_gradients_are_summed_over_what_was_repeated(case, device: str) -> None:
    """The derivative along a direction, and that of the gradient, by central differences."""
    equation, *shapes = case
    values = arrays(*shapes)
    steps = [np.random.default_rng(i).normal(size=shape) for i, shape in enumerate(shapes)]
    weight = np.random.default_rng(9).normal(size=np.einsum(equation, *values).shape)

    def total(t: float) -> float:
        moved = [v + t * d for v, d in zip(values, steps, strict=True)]
        return float(np.sum(weight * np.einsum(equation, *moved) ** 2))

    inputs = [Tensor(v, dtype="float64", requires_grad=True) for v in values]
    y = (Tensor(weight, dtype="float64") * ops.einsum(equation, *inputs) ** 2).sum()
    first = babygrad.grad(y, inputs, create_graph=True)
    slope = Tensor(0.0, dtype="float64")
    for gradient, value, step in zip(first, values, steps, strict=True):
        assert gradient.shape == value.shape
        slope = slope + (gradient * Tensor(step, dtype="float64")).sum()
    h = 1e-4
    np.testing.assert_allclose(slope.item(), (total(h) - total(-h)) / (2 * h), rtol=1e-5, atol=1e-6)
    second = babygrad.grad(slope, inputs)
    curve = sum(float(np.sum(g.data * d)) for g, d in zip(second, steps, strict=True))
    want = (total(h) - 2 * total(0) + total(-h)) / h**2
    np.testing.assert_allclose(curve, want, rtol=1e-4, atol=1e-4)


LISTS = [
    (((2, 3), [0, 1]), ((3, 4), [1, 2])),
    (((2, 3), [0, 1]), ((3, 4), [1, 2]), [2, 0]),
    (((2, 3), [1, 0]), ((3, 4), [0, 51]), []),
    (((2, 3), [30, 2]), ((3, 4), [2, 5])),
    (((2, 3), (0, 1)), ((1, 4), (1, 2)), (0, 2)),
    (((5, 2, 3), [..., 0, 1]), ((1, 3, 4), [..., 1, 2]), [..., 0, 2]),
    (((5, 2, 3), [..., 0]), ((3,), [0]), [...]),
    (((5, 2, 3), [0, ...]), ((3,), [...])),
    (((3, 3), [0, 0]),),
    (((3, 3), [np.int64(0), 0]), [0]),
]  # fmt: skip


@pytest.mark.parametrize("case", LISTS, ids=str)
def test_indices_given_as_lists_behind_the_operands(case, device: str) -> None:
    pairs = [part for part in case if isinstance(part, tuple) and isinstance(part[0], tuple)]
    values = arrays(*(shape for shape, _ in pairs))
    tensors = [Tensor(v, dtype="float64") for v in values]
    result = [part for part in case if part not in pairs]
    lists = [indices for _, indices in pairs]

    def given(operands) -> list:
        return [*itertools.chain(*zip(operands, lists, strict=True)), *result]

    want = np.einsum(*given(values))
    got = ops.einsum(*given(tensors))
    assert got.shape == want.shape
    np.testing.assert_allclose(got.data, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda a, b: ops.einsum(a, [0, 1], b, [1, 2]),
            ValueError,
            "einsum: index 1 of [0, 1], [1, 2] has sizes 3 and 4 in operands of shapes (2, 3), (4",
        ),
        (
            lambda a, b: ops.einsum("...j,...j", a[:1], b),
            ValueError,
            "einsum: index 'j' of '...j,...j' has sizes 3 and 2 in operands of shapes",
        ),
        (
            lambda a, b: ops.einsum("...,...", a, b),
            ValueError,
            "einsum: index of '...' of '...,...' has sizes",
        ),
        (
            lambda a, b: ops.einsum("ii->i", a[:1]),
            ValueError,
            "einsum: index 'i' of 'ii->i' has sizes 1 and 3 in operands of shapes (1, 3)",
        ),
        (lambda a, b: ops.einsum(a, [0, 1], b), TypeError, "einsum: indices are a string, or a l"),
        (lambda a, b: ops.einsum(a, [0, 52]), ValueError, "einsum: index 52 must be in [0, 52)"),
        (lambda a, b: ops.einsum(a, [0, 0.5]), TypeError, "einsum: an index (=0.5) must be an in"),
        (lambda a, b: ops.einsum(a, [0]), ValueError, "einsum: 'A' in [0] does not fit 2 axes"),
        (lambda a, b: ops.einsum(a, [0, 1], [2]), ValueError, "einsum: [0, 1], [2] has ['2'] in"),
        (lambda a, b: ops.einsum("ij"), ValueError, "einsum: there must be at least one operand"),
        (lambda a, b: ops.einsum("....,...", a, b), ValueError, "einsum: '....' in '....,...' do"),
        (lambda a, b: ops.einsum("ij->ii", a), ValueError, "einsum: the result of 'ij->ii' has an"),
    ],
)
def test_messages(call, error: type[Exception], message: str, device: str) -> None:
    a, b = (Tensor(np.ones(shape)) for shape in ((2, 3), (4, 2)))
    with pytest.raises(error) as caught:
        call(a, b)
    assert str(caught.value).startswith(message)
