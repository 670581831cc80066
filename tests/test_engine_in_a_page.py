"""examples/engine_in_a_page.py against the real thing, on random graphs."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babygrad import Tensor, ops

PAGE = Path(__file__).parents[1] / "examples" / "engine_in_a_page.py"
page = runpy.run_path(str(PAGE))
Value = page["Value"]

# Each operation there and here.
UNARY = {
    "tanh": ops.tanh,
    "relu": ops.relu,
    "transpose": lambda a: a.T,
    "exp": lambda a: ops.exp(ops.tanh(a)),
    "log": lambda a: ops.log(a * a + 1.0),
    "total": lambda a: a.sum(),
}
BINARY = {
    "add": ops.add,
    "subtract": ops.subtract,
    "multiply": ops.multiply,
    "divide": lambda a, b: a / (b * b + 1.0),
    "matmul": ops.matmul,
}
THERE = {
    "exp": lambda a: page["exp"](page["tanh"](a)),
    "log": lambda a: page["log"](a * a + 1.0),
    "divide": lambda a, b: a / (b * b + 1.0),
}


def fits(name, *operands):
    if name == "matmul":
        return [a.ndim for a in operands] == [2, 2] and operands[0].shape[1] == operands[1].shape[0]
    try:
        np.broadcast_shapes(*(a.shape for a in operands))
    except ValueError:
        return False
    return True


def grown(steps, leaves, table, make):
    """The values of a graph: the leaves, then the results of the steps that fit."""
    made = [make(leaf) for leaf in leaves]
    shapes = [np.zeros(leaf.shape) for leaf in leaves]
    for name, *places in steps:
        chosen = [place % len(made) for place in places]
        if not fits(name, *(shapes[i] for i in chosen)):
            continue
        made.append(table[name](*(made[i] for i in chosen)))
        data = made[-1].data
        shapes.append(np.zeros(data.shape))
    return made


STEP = st.one_of(
    st.tuples(st.sampled_from(sorted(UNARY)), st.integers(0, 30)),
    st.tuples(st.sampled_from(sorted(BINARY)), st.integers(0, 30), st.integers(0, 30)),
)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=14), seed=st.integers(0, 999))
def test_values_and_gradients_are_the_real_ones(steps, seed):
    rng = np.random.default_rng(seed)
    leaves = [rng.uniform(-1, 1, shape) for shape in ((3, 2), (2, 3), (1, 3), (3, 1), ())]
    there = grown(steps, leaves, {n: THERE.get(n, page.get(n)) for n in UNARY | BINARY}, Value)
    here = grown(
        steps,
        leaves,
        UNARY | BINARY,
        lambda leaf: Tensor(leaf, dtype="float64", requires_grad=True),
    )
    for a, b in zip(there, here, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-12)
    page["total"](there[-1]).backward()
    here[-1].sum().backward()
    for a, b in zip(there[: len(leaves)], here, strict=False):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            np.testing.assert_allclose(a.grad, b.grad, rtol=1e-9, atol=1e-9)


def test_it_is_one_page():
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 100


@pytest.mark.parametrize("depth", [50_000])
def test_depth_is_no_limit(depth):
    x = Value(1.0)
    y = x
    for _ in range(depth):
        y = y + 1.0
    y.backward()
    assert x.grad == 1
