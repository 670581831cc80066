"""Comparisons, logic and tests: bool results, hash by identity, NaN, messages."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

from babygrad import Tensor, ops

COMPARISONS = {
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
}
LEFT, RIGHT = [1.0, 2.0, 3.0, math.nan, math.inf], [2.0, 2.0, 2.0, 1.0, math.inf]


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name: str, device: str, dtype: str) -> None:
    compare = COMPARISONS[name]
    expected = [compare(a, b) for a, b in zip(LEFT, RIGHT, strict=True)]
    a, b = Tensor(LEFT, dtype=dtype, requires_grad=True), Tensor(RIGHT, dtype=dtype)
    for got in (compare(a, b), getattr(ops, name)(a, b)):
        assert got.dtype == bool
        assert not got.requires_grad
        assert got.tolist() == expected
    assert compare(a, 2).tolist() == [compare(x, 2) for x in LEFT]
    assert compare(2, a).tolist() == [compare(2, x) for x in LEFT]
    assert compare(a, np.array(RIGHT)).tolist() == expected


def test_comparisons_broadcast_and_promote(device: str) -> None:
    got = Tensor([[1], [2]], dtype="int64") < Tensor([1.5, 2.5])
    assert got.tolist() == [[True, True], [False, True]]


def test_equality_with_other_objects_is_pythons(device: str) -> None:
    x = Tensor([1.0, 2.0])
    assert (x == None) is False  # noqa: E711
    assert (x != "a") is True
    with pytest.raises(TypeError, match="less: an operand is a str"):
        x < "a"  # noqa: B015


def test_hash_is_identity(device: str) -> None:
    x, y = Tensor([1.0]), Tensor([1.0])
    assert len({x, y, x}) == 2
    assert {x: 1}[x] == 1


def test_logic(device: str) -> None:
    a = Tensor([True, True, False, False], dtype="bool")
    b = Tensor([True, False, True, False], dtype="bool")
    assert (a & b).tolist() == ops.logical_and(a, b).tolist() == [True, False, False, False]
    assert (a | b).tolist() == ops.logical_or(a, b).tolist() == [True, True, True, False]
    assert (a ^ b).tolist() == ops.logical_xor(a, b).tolist() == [False, True, True, False]
    assert (~a).tolist() == ops.logical_not(a).tolist() == [False, False, True, True]
    assert (a & True).tolist() == (True & a).tolist() == a.tolist()
    assert ops.logical_and(Tensor([2.0, 0.0]), 1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a & a, "&: operands must be bools or integers, not float32; compare them first"),
        (lambda a: ~a, "~: operands must be bools or integers, not float32; compare them first"),
        (lambda a: (a > 0) | 1.0, r"\|: operands must be bools or integers, not float32"),
    ],
)
def test_logic_is_for_bools(call, message: str, device: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(Tensor([1.0]))


def test_tests_of_floats(device: str, dtype: str) -> None:
    x = Tensor([1.0, math.nan, math.inf, -math.inf], dtype=dtype)
    assert x.isnan().tolist() == [False, True, False, False]
    assert x.isinf().tolist() == [False, False, True, True]
    assert x.isfinite().tolist() == [True, False, False, False]
    assert ops.isfinite(Tensor([1], dtype="int64")).tolist() == [True]
