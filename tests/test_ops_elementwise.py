"""Elementwise functions: values against `math`, singular points, NaN, ties, clip and where."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

INF, NAN = math.inf, math.nan

ORACLES = {
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "log2": math.log2,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "erf": math.erf,
    "abs": abs,
    "square": lambda x: x * x,
    "sign": lambda x: (x > 0) - (x < 0),
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
}
POSITIVE_ONLY = {"log", "log1p", "log2", "sqrt", "rsqrt"}


def leaf(values: object) -> Tensor:
    return Tensor(values, dtype="float64", requires_grad=True)


def grad(out: Tensor, x: Tensor) -> list[float]:
    return babygrad.grad(out.sum(), x).tolist()


@pytest.mark.parametrize("name", ORACLES)
def test_value(name: str, device: str, dtype: str) -> None:
    x = np.random.default_rng(1).uniform(0.1, 4, (5, 13)).astype(dtype)
    if name not in POSITIVE_ONLY:
        x *= np.where(np.arange(13) % 2, 1, -1).astype(dtype)
    expected = np.vectorize(ORACLES[name], otypes=["float64"])(x.astype("float64"))
    got = getattr(ops, name)(Tensor(x, dtype=None))
    assert got.dtype == dtype
    # Within 4 ulp of the exact value.
    np.testing.assert_allclose(got.data, expected, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(getattr(Tensor(x, dtype=None), name)().data, got.data)


@pytest.mark.parametrize("name", ORACLES)
def test_integers_and_numbers(name: str, device: str) -> None:
    kept = {"abs", "square", "sign", "floor", "ceil", "round"}
    got = getattr(ops, name)(Tensor([1, 2], dtype="int64"))
    assert got.dtype == ("int64" if name in kept else "float32")
    assert getattr(ops, name)(2).item() == pytest.approx(ORACLES[name](2), rel=1e-6)


def test_round_takes_the_even_of_two(device: str) -> None:
    assert ops.round(Tensor([0.5, 1.5, 2.5, -0.5])).tolist() == [0, 2, 2, 0]


def test_round_keeps_digits_as_numpy_does(device: str) -> None:
    x = np.array([1234.5678, -0.0625, 0.125, -987.0, np.inf, np.nan])
    for decimals in (3, 2, 0, -2, -3):
        got = Tensor(x, dtype="float64").round(decimals)
        np.testing.assert_array_equal(got.data, np.round(x, decimals))
    ids = Tensor([12, 345], dtype="int64")
    assert ids.round(2).tolist() == [12, 345]
    with pytest.raises(TypeError, match=r"round: decimals \(=-1\) must be at least 0 for int64"):
        ids.round(-1)


# ----- T8, T9 -----


@pytest.mark.parametrize("name", ["sqrt", "log", "rsqrt", "reciprocal", "log2"])
def test_zero_upstream_stays_zero_at_a_singularity(name: str, device: str, dtype: str) -> None:
    x = Tensor([0.0, 1.0], dtype=dtype, requires_grad=True)
    y = getattr(ops, name)(x)
    y.backward(Tensor([0.0, 1.0], dtype=dtype))
    assert x.grad[0] == 0
    assert np.isfinite(x.grad[1])
    x = Tensor([0.0], dtype=dtype, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(ops, name)(x).backward()
    assert math.isinf(x.grad[0])


def test_where_over_sqrt_is_not_nan(device: str, dtype: str) -> None:
    x = Tensor([0.0, 4.0], dtype=dtype, requires_grad=True)
    ops.where(x < 1, x, ops.sqrt(x)).sum().backward()
    assert x.grad.tolist() == [1.0, 0.25]


def test_where_over_an_overflowing_exp(device: str) -> None:
    x = leaf([1e4, 1.0])
    y = ops.where(x > 100, x, ops.exp(x))
    assert grad(y, x) == [1.0, math.e]


def test_second_order_through_a_masked_branch(device: str) -> None:
    x = leaf([0.0, 4.0])
    first = babygrad.grad(ops.where(x < 1, x * x, ops.sqrt(x)).sum(), x, create_graph=True)
    assert grad(first, x) == [2.0, -0.25 * 4**-1.5]


def test_flat_points(device: str) -> None:
    x = leaf([-2.0, 0.0, 3.0])
    assert grad(ops.abs(x), x) == [-1.0, 0.0, 1.0]
    for step in (ops.sign, ops.floor, ops.ceil, ops.round):
        assert grad(step(x), x) == [0.0, 0.0, 0.0]


def test_exp_of_3x(device: str) -> None:
    x = leaf(2.0)
    first = babygrad.grad(ops.exp(3 * x), x, create_graph=True)
    second = babygrad.grad(first, x)
    assert first.item() == pytest.approx(1210.2864, abs=1e-4)
    assert second.item() == pytest.approx(3630.8591, abs=2e-4)


# ----- T7: maximum and minimum; T17: NaN -----


def test_ties_are_halved(device: str) -> None:
    a, b = leaf([1.0, 1.0, 2.0]), leaf([1.0, 2.0, 1.0])
    for op, expected in [(ops.maximum, [0.5, 0, 1]), (ops.minimum, [0.5, 1, 0])]:
        ga, gb = babygrad.grad(op(a, b).sum(), [a, b])
        assert ga.tolist() == expected
        assert (ga + gb).tolist() == [1, 1, 1]
    x = leaf([3.0])
    assert grad(ops.maximum(x, x), x) == [1.0]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 67])
def test_nan_propagates_at_every_position(length: int, device: str, dtype: str) -> None:
    for position in {0, length // 2, length - 1}:
        x = np.zeros(length, dtype)
        x[position] = NAN
        t = Tensor(x, dtype=None)
        for y in (t.maximum(1), ops.minimum(0.5, t), t.maximum(t * 0), t.clip(-1, 1)):
            assert np.isnan(y.data).tolist() == np.isnan(x).tolist()
        assert t.isnan().tolist() == np.isnan(x).tolist()


# ----- clip -----


def test_clip_gradient_is_one_at_the_bounds(device: str) -> None:
    x = leaf([-3.0, -1.0, 0.0, 1.0, 3.0])
    y = ops.clip(x, -1, 1)
    assert (y.tolist(), grad(y, x)) == ([-1, -1, 0, 1, 1], [0, 1, 1, 1, 0])
    assert ops.clip(x, low=0).tolist() == [0, 0, 0, 1, 3]
    assert ops.clamp(x, high=0).tolist() == [-3, -1, 0, 0, 0]


def test_clip_with_tensor_bounds(device: str) -> None:
    x, low = leaf([[-3.0, 0.0], [0.5, 9.0]]), leaf([-1.0, 1.0])
    gx, glow = babygrad.grad(ops.clip(x, low, 5).sum(), [x, low])
    assert gx.tolist() == [[0, 0], [1, 0]]
    assert glow.tolist() == [1, 1]


@pytest.mark.parametrize("integers", ["int8", "uint8", "int16", "uint32", "int64", "uint64"])
def test_clip_takes_integer_bounds_that_the_type_does_not_reach(device: str, integers: str) -> None:
    bits = int(integers.lstrip("uint"))
    least, most = (
        (0, 2**bits - 1) if integers[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    x = Tensor(np.array([least, 1, 7, most], integers), dtype=integers)
    for low, high, expected in (
        (-(2**70), 2**70, [least, 1, 7, most]),
        (-(2**70), 5, [least, 1, 5, 5]),
        (2, 2**70, [2, 2, 7, most]),
        (None, 2**64, [least, 1, 7, most]),
        (least - 1, None, [least, 1, 7, most]),
    ):
        y = ops.clip(x, low, high)
        assert (y.dtype, y.tolist()) == (integers, expected)
    for low, high in ((most + 1, None), (None, least - 1), (most + 1, most + 2)):
        with pytest.raises(ValueError, match=r"clip: the number \S+ does not fit the tensor"):
            ops.clip(x, low, high)


@pytest.mark.parametrize("integers", ["bool", "int8", "uint8", "int32", "int64", "uint64"])
def test_whole_numbers_are_rounded_to_themselves(device: str, integers: str) -> None:
    """Exactly, also those that no float holds."""
    values = {"bool": [False, True], "int64": [-(2**53) - 1, 2**62 + 1], "uint64": [2**64 - 1]}
    x = Tensor(np.array(values.get(integers, [0, 1, 127]), integers), dtype=integers)
    for step in (ops.floor, ops.ceil):
        for given in (x, x[0]):
            y = step(given)
            assert (y.dtype, y.tolist()) == (integers, given.tolist())
            assert not np.shares_memory(y.data, given.data)


def test_clip_types_and_messages(device: str) -> None:
    assert ops.clip(Tensor([1, 5], dtype="int64"), 2, 3).dtype == "int64"
    assert ops.clip(Tensor([1, 5], dtype="int64"), 1.5, 3).tolist() == [1.5, 3.0]
    with pytest.raises(ValueError, match="clip: give at least one of low and high"):
        ops.clip(Tensor([1.0]))


# ----- where -----


def test_where_takes_numbers_arrays_and_tensors(device: str) -> None:
    condition = Tensor([[True], [False]], dtype="bool")
    assert ops.where(condition, 1.0, Tensor([2.0, 3.0])).tolist() == [[1, 1], [2, 3]]
    assert ops.where([True, False], Tensor([1.0, 2.0]), np.float64(7)).dtype == "float32"
    assert ops.where(np.array([1, 0]), Tensor([1, 2], dtype="int32"), 0.5).tolist() == [1, 0.5]
    assert ops.where(condition, 1, 2).tolist() == [[1], [2]]


def test_where_broadcasts_its_gradients(device: str) -> None:
    a, b = leaf([[1.0], [2.0]]), leaf([1.0, 2.0, 3.0])
    mask = Tensor([[True, False, True], [False, False, False]], dtype="bool")
    ga, gb = babygrad.grad(ops.where(mask, a, b).sum(), [a, b])
    assert (ga.tolist(), gb.tolist()) == ([[2], [0]], [1, 2, 1])


def test_where_message(device: str) -> None:
    message = (
        "where: shapes (3,) and (2,) do not broadcast: axis -1 has sizes 3 and 2, "
        "which must be equal or 1"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        ops.where(Tensor([True] * 3, dtype="bool"), Tensor([1.0, 2.0]), 0)


def test_where_watches_its_condition(device: str) -> None:
    mask = Tensor([True, False], dtype="bool")
    x = leaf([1.0, 2.0])
    y = ops.where(mask, x, 0)
    mask[0] = False
    with pytest.raises(RuntimeError, match=r"an input of Where, of shape .* was modified in place"):
        y.sum().backward()
