"""Arithmetic: values, kinks and singular points, reflected operators, promotion, messages."""

from __future__ import annotations

import math
import operator
import re
import warnings

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


def leaf(values: object) -> Tensor:
    return Tensor(values, dtype="float64", requires_grad=True)


def grads(out: Tensor, *inputs: Tensor) -> list[list[float]]:
    return [g.tolist() for g in babygrad.grad(out.sum(), list(inputs))]


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_agree_with_python(symbol: str, device: str, dtype: str) -> None:
    apply = OPERATORS[symbol]
    left, right = [3.5, -2.0, 7.25, -0.5], [2.0, 3.0, -2.0, 1.0]
    expected = [apply(a, b) for a, b in zip(left, right, strict=True)]
    got = apply(Tensor(left, dtype=dtype), Tensor(right, dtype=dtype))
    assert got.dtype == dtype
    np.testing.assert_allclose(got.data, expected, rtol=4 * np.finfo(dtype).eps)
    by_scalar = apply(Tensor(left, dtype=dtype), 2)
    np.testing.assert_allclose(by_scalar.data, [apply(a, 2) for a in left], rtol=1e-6)


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("shapes", [((), (2, 3)), ((1,), (3,)), ((3, 1), (1, 4)), ((0, 3), (3,))])
def test_gradients_have_the_operands_shapes(symbol, shapes, device: str) -> None:
    a, b = (Tensor(np.full(s, 1.5), requires_grad=True) for s in shapes)
    OPERATORS[symbol](a, b).sum().backward()
    assert (a.grad.shape, b.grad.shape) == shapes
    if 0 in shapes[0]:
        assert b.grad.tolist() == [0, 0, 0]


# ----- T7, T8, T9 -----


def test_power_at_singular_points(device: str) -> None:
    a, b = leaf([0.0, 0.0]), leaf([0.0, 1.0])
    assert grads(a**b, a, b) == [[0.0, 1.0], [0.0, 0.0]]
    a, b = leaf([0.0, 0.0, 2.0]), leaf([2.0, 0.5, 3.0])
    assert grads(a**b, b)[0] == pytest.approx([0.0, 0.0, 8 * math.log(2)])


def test_whole_exponent_of_a_negative_base(device: str) -> None:
    for exponent in (2, 2.0, Tensor(2.0, dtype="float64")):
        x = leaf([-2.0])
        y = x**exponent
        assert (y.tolist(), grads(y, x)) == ([4.0], [[-4.0]])


def test_zeroth_power_at_zero(device: str) -> None:
    x = leaf([0.0, 3.0])
    y = x**0
    assert (y.tolist(), grads(y, x)) == ([1.0, 1.0], [[0.0, 0.0]])


def test_second_and_third_derivative_of_a_cube(device: str) -> None:
    x = leaf(3.0)
    first = babygrad.grad(x**3, x, create_graph=True)
    second = babygrad.grad(first, x, create_graph=True)
    third = babygrad.grad(second, x)
    assert (first.item(), second.item(), third.item()) == (27.0, 18.0, 6.0)
    assert not third.requires_grad


def test_masked_division_by_zero(device: str) -> None:
    x = leaf([0.0, 2.0])
    y = ops.where(x > 1, 1 / x, x)
    assert grads(y, x) == [[1.0, -0.25]]
    x = leaf([1.0, 2.0])
    assert grads(ops.where(x > 0, x, x / 0), x) == [[1.0, 1.0]]


def test_division_by_zero_is_ieee_without_a_warning(device: str, dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = Tensor([1.0, -1.0, 0.0], dtype=dtype) / 0
    assert y.data[:2].tolist() == [math.inf, -math.inf]
    assert math.isnan(y.data[2])


def test_only_what_is_asked_for_is_computed(device: str) -> None:
    """The exponent's gradient needs log(-2): nothing computes it unless the exponent asks."""
    x, exponent = leaf([-2.0]), Tensor([3.0], dtype="float64")
    (gradient,) = grads(x**exponent, x)
    assert gradient == [12.0]
    y = (x**exponent)._op.backward(Tensor([1.0], dtype="float64"), x**exponent)
    assert y[1] is None


# ----- T2 -----


def test_shared_operands(device: str) -> None:
    x = leaf(2.0)
    y = 3 * x
    (2 * y + 5 * y).backward()
    assert x.grad == 21
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad == 6
    a, b = leaf(3.0), leaf(3.0)
    (a + b).backward()
    assert (a.grad, b.grad) == (1, 1)


# ----- T11 promotion, T23 reflected operators -----


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("float32", 2.0, "float32"),
        ("float32", np.float64(2), "float32"),
        ("float32", np.array(2.0), "float32"),
        ("float32", "int64", "float32"),
        ("float32", "float64", "float64"),
        ("int32", 2, "int32"),
        ("int32", 2.5, "float32"),
        ("int32", "int64", "int64"),
        ("uint8", "int8", "int16"),
        ("bool", 2, "int64"),
        ("float16", "float16", "float32"),
    ],
)
def test_promotion(left, right, expected, device: str) -> None:
    a = Tensor([1, 2], dtype=left)
    b = Tensor([1, 2], dtype=right) if isinstance(right, str) else right
    assert (a + b).dtype == expected
    assert (b + a).dtype == expected
    assert (b * a).dtype == expected


def test_integer_division(device: str) -> None:
    a = Tensor([7, -7], dtype="int64")
    assert (a / 2).dtype == "float32"
    assert (a / 2).tolist() == [3.5, -3.5]
    assert ((a // 2).tolist(), (a % 2).tolist()) == ([3, -4], [1, 1])
    assert (a // 2).dtype == (a % 2).dtype == "int64"


def test_unsigned_minus_a_number(device: str) -> None:
    assert (Tensor([3], dtype="uint8") - 1).tolist() == [2]


def test_reflected_operators(device: str) -> None:
    def check(result: Tensor, x: Tensor, value: object, gradient: object) -> None:
        assert isinstance(result, Tensor)
        np.testing.assert_allclose(result.data, value)
        result.sum().backward()
        np.testing.assert_allclose(x.grad, gradient)

    x = leaf([2.0, 4.0])
    check(5 - x, x, [3, 1], [-1, -1])
    x = leaf([2.0, 4.0])
    check(1 / x, x, [0.5, 0.25], [-0.25, -0.0625])
    x = leaf([2.0, 3.0])
    check(2**x, x, [4, 8], [4 * math.log(2), 8 * math.log(2)])
    x = leaf([2.0, 4.0])
    check(7 // x, x, [3, 1], [0, 0])
    x = leaf([2.0, 4.0])
    check(7 % x, x, [1, 3], [-3, -1])
    x = leaf([2.0, 4.0])
    check(np.array([[1.0, 2.0]]) @ x, x, [10], [1, 2])
    x = leaf([2.0, 4.0])
    check([1.0, 2.0] + x, x, [3, 6], [1, 1])  # noqa: RUF005 - a sum, not a longer list
    x = Tensor([2.0, 4.0], requires_grad=True)
    check(np.float32(2) * x, x, [4, 8], [2, 2])
    x = leaf([2.0, 4.0])
    check(np.array([1.0, 2.0]) - x, x, [-1, -2], [-1, -1])


# ----- Messages -----


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: x + Tensor([[1.0], [2.0], [3.0]]).T.reshape(3, 1) * Tensor(np.ones((2, 4))),
            ValueError,
            "multiply: shapes (3, 1) and (2, 4) do not broadcast: axis -2 has sizes 3 and 2, "
            "which must be equal or 1",
        ),
        (
            lambda x: x + Tensor([1.0, 2.0, 3.0]),
            ValueError,
            "add: shapes (2,) and (3,) do not broadcast: axis -1 has sizes 2 and 3, "
            "which must be equal or 1",
        ),
        (lambda x: x - "a", TypeError, "subtract: an operand is a str, not a tensor or number"),
        (lambda x: None / x, TypeError, "divide: an operand is a NoneType, not a tensor or number"),
        (
            lambda x: Tensor([2], dtype="int64") ** -1,
            ValueError,
            "power: a tensor of int64 cannot be raised to a negative power; "
            "cast it to a float type",
        ),
    ],
)
def test_messages(call, error, message: str, device: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(Tensor([1.0, 2.0]))


def test_mixed_devices_are_named() -> None:
    try:
        b = Tensor([1.0], device="cpu:numba")
    except RuntimeError as reason:
        pytest.skip(str(reason))
    with pytest.raises(RuntimeError, match=r"Add: .*'cpu:numpy', 'cpu:numba'.*\.to\(device\)"):
        Tensor([1.0], device="cpu:numpy") + b
