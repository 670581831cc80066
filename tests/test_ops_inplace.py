"""In-place operators: T1, and what they refuse."""

from __future__ import annotations

import operator
import re

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

pytestmark = pytest.mark.usefixtures("twins")

OPERATORS = {
    "+=": operator.iadd,
    "-=": operator.isub,
    "*=": operator.imul,
    "/=": operator.itruediv,
    "//=": operator.ifloordiv,
    "%=": operator.imod,
    "**=": operator.ipow,
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_writes_into_the_same_memory(symbol: str, device: str, dtype: str) -> None:
    x = Tensor([5.0, 7.5], dtype=dtype)
    memory = x.data
    expected = {"+=": [7, 9.5], "-=": [3, 5.5], "*=": [10, 15], "/=": [2.5, 3.75],
                "//=": [2, 3], "%=": [1, 1.5], "**=": [25, 56.25]}[symbol]  # fmt: skip
    result = OPERATORS[symbol](x, Tensor(2.0, dtype=dtype))
    assert result is x
    assert x.data is memory
    assert x.tolist() == expected


@pytest.mark.parametrize("symbol", OPERATORS)
def test_leaf_that_requires_grad_is_left_untouched(symbol: str, device: str) -> None:
    w = Tensor([5.0, 7.0], requires_grad=True)
    message = (
        f"{symbol}: this leaf of shape (2,) requires grad and cannot be modified in place "
        "while operations are recorded; use no_grad(), or build a new tensor with where, "
        "concatenate or stack"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        OPERATORS[symbol](w, 2)
    assert w.tolist() == [5, 7]
    with babygrad.no_grad():
        OPERATORS[symbol](w, 2)
    assert w.requires_grad
    assert w.tolist() != [5, 7]


def test_saved_input_changed_before_backward(device: str) -> None:
    w, x = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    y = w * x
    with babygrad.no_grad():
        w -= 2
    with pytest.raises(RuntimeError, match=r"an input of Multiply.* was modified in place"):
        y.sum().backward()
    assert w.grad is None
    assert x.grad is None


@pytest.mark.parametrize("name", ["exp", "sqrt"])
def test_ops_that_save_their_output(name: str, device: str) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = getattr(ops, name)(x)
    with babygrad.no_grad():
        x *= 3
    y.sum().backward()
    assert x.grad is not None
    y = getattr(ops, name)(x)
    with babygrad.no_grad():
        y *= 3
    with pytest.raises(RuntimeError, match=f"the output of {name.capitalize()}.* was modified"):
        y.sum().backward()


def test_what_nobody_saved_may_change(device: str) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x + 1
    z = y * 2
    with babygrad.no_grad():
        y += 5
        x += 5
    z.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_write_through_a_view(device: str) -> None:
    base = Tensor([[1.0, 2.0], [3.0, 4.0]])
    w = Tensor([[1.0, 1.0], [1.0, 1.0]], requires_grad=True)
    y = w * base
    row = base[0]
    row += 1
    assert base.tolist() == [[2, 3], [3, 4]]
    with pytest.raises(RuntimeError, match="was modified in place"):
        y.sum().backward()


def test_in_a_graph_it_makes_a_new_tensor(device: str) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = before = x * 3
    y += x
    assert y is not before
    (y * before).sum().backward()
    np.testing.assert_allclose(x.grad, 24 * x.data)
    total = Tensor([0.0, 0.0])
    total += x
    assert total.requires_grad


def test_overlapping_memory(device: str) -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    x += x.T
    assert x.tolist() == [[2, 5], [5, 8]]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: operator.iadd(Tensor([1.0]), Tensor([1.0, 2.0])),
            ValueError,
            "+=: the result has shape (2,), which does not fit into the tensor's shape (1,)",
        ),
        (
            lambda: operator.itruediv(Tensor([1], dtype="int64"), 2),
            TypeError,
            "/=: the result is of type float32, which does not fit into the tensor's int64; "
            "cast the tensor with astype first",
        ),
        (
            lambda: operator.imul(Tensor([1.0]).broadcast_to(3), 2),
            RuntimeError,
            "*=: this tensor of shape (3,) is a read-only view whose elements share memory; "
            "copy it with detach() first",
        ),
    ],
)
def test_messages(make, error, message: str, device: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_types_stay(device: str) -> None:
    for dtype in ("float16", "float32", "int32"):
        x = Tensor([4, 6], dtype=dtype)
        x += Tensor([1, 2], dtype=dtype)
        assert x.dtype == dtype
        assert x.tolist() == [5, 8]
    x = Tensor([1.0], dtype="float32")
    x += Tensor([0.5], dtype="float64")
    assert (x.dtype, x.tolist()) == ("float32", [1.5])
