"""Reductions and comparisons of integers, up to the last digit of int64 and uint64.

The oracle is Python's integers and fractions, which have no size.
"""

from __future__ import annotations

import operator
from fractions import Fraction

import numpy as np
import pytest

from babygrad import Tensor, ops

INTEGERS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def samples(name, shape=(6, 4)):
    """Arrays of the type's whole range, of its ends, of small numbers and of two neighbours."""
    rng = np.random.default_rng(0)
    if name == "bool":
        return [rng.integers(0, 2, shape).astype(bool)]
    low, high = np.iinfo(name).min, np.iinfo(name).max
    return [
        rng.integers(low, high, shape, name, endpoint=True),
        rng.choice(np.array([low, high, high - 1], name), shape),
        rng.integers(0 if low == 0 else -3, 4, shape, name),
        np.full(shape, high) - rng.integers(0, 2, shape, name),
        np.full(shape, high),
    ]


def columns(array, axis):
    """The lists of Python integers that a reduction over the axis is of."""
    if axis is None:
        return [[int(v) for v in array.ravel()]]
    return [
        [int(v) for v in column]
        for column in np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])
    ]


def variance(numbers, correction):
    mean = Fraction(sum(numbers), len(numbers))
    return sum((n - mean) ** 2 for n in numbers) / (len(numbers) - correction)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("name", INTEGERS)
def test_the_mean_is_that_of_the_exact_sum(device, name, axis):
    for array in samples(name):
        for given in (array, array[::-1].T.copy().T):
            got = ops.mean(Tensor(given, dtype=None), axis)
            assert got.dtype == np.float32
            exact = [float(Fraction(sum(c), len(c))) for c in columns(given, axis)]
            want = np.array(exact, "float32").reshape(got.shape)
            # One rounding to float64 comes before that to float32.
            np.testing.assert_allclose(got.data, want, rtol=1.2e-7)
            kept = ops.mean(Tensor(given, dtype=None), axis, keepdims=True)
            assert kept.shape == given.mean(axis, keepdims=True).shape
            assert kept.data.ravel().tolist() == got.data.ravel().tolist()


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("name", INTEGERS)
def test_var_and_std_lose_no_digits_of_the_deviations(device, name, axis):
    for array in samples(name):
        for correction in (0, 1):
            exact = [float(variance(c, correction)) for c in columns(array, axis)]
            x = Tensor(array, dtype=None)
            got = ops.var(x, axis, correction=correction)
            assert got.dtype == np.float32
            want = np.array(exact).reshape(got.shape)
            np.testing.assert_allclose(got.data, want, rtol=2e-7)
            std = ops.std(x, axis, correction=correction)
            np.testing.assert_allclose(std.data, np.sqrt(want), rtol=3e-7)


def test_means_and_variances_by_hand(device):
    assert Tensor([2**62, 2**62], dtype="int64").mean().item() == 2.0**62
    assert Tensor([-(2**63)] * 3, dtype="int64").mean().item() == -(2.0**63)
    assert Tensor([2**64 - 1] * 5, dtype="uint64").mean().item() == 2.0**64
    assert Tensor([2**63 - 1, -(2**63)], dtype="int64").mean().item() == -0.5
    assert Tensor([-1, 0, 0], dtype="int64").mean().item() == float(np.float32(-1 / 3))
    assert Tensor([16777217, 16777219], dtype="int64").var().item() == 2
    assert Tensor([2**62 + 1, 2**62 + 3], dtype="int64").var().item() == 2
    assert Tensor([2**63 + 1, 2**63 + 3], dtype="uint64").std().item() == float(np.float32(2**0.5))
    days = np.arange("2024-01-01", "2024-01-08", dtype="M8[D]").astype("M8[ns]").astype("int64")
    assert Tensor(days, dtype=None).mean().item() == float(np.float32(days[3]))
    assert Tensor(days, dtype=None).std(correction=0).item() == pytest.approx(2 * 86400e9, rel=1e-7)
    many = Tensor(np.full(1 << 20, 2**63 - 1), dtype=None)
    assert many.mean().item() == 2.0**63
    assert many.var().item() == 0


def test_the_mean_of_no_integers_is_nan(device):
    for name in INTEGERS:
        assert np.isnan(Tensor(np.zeros(0, name), dtype=None).mean().item())
        assert np.isnan(Tensor(np.zeros((0, 3), name), dtype=None).mean(0).data).all()
        assert Tensor(np.zeros((3, 0), name), dtype=None).mean(0).shape == (0,)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_uint64_adds_up_and_multiplies_in_uint64(device, axis):
    array = np.array([[2**63, 3], [2**62, 1]], "uint64")
    x = Tensor(array, dtype=None)
    for got, fold in ((ops.summation(x, axis), operator.add), (ops.prod(x, axis), operator.mul)):
        assert got.dtype == np.uint64
        want = []
        for first, *rest in columns(array, axis):
            for number in rest:
                first = fold(first, number) % 2**64
            want.append(first)
        assert got.data.ravel().tolist() == want
    running = ops.cumsum(Tensor([2**63, 1, 2], dtype="uint64"), 0)
    assert running.dtype == np.uint64
    assert running.tolist() == [2**63, 2**63 + 1, 2**63 + 3]


def test_other_integers_add_up_in_int64(device):
    for name in INTEGERS:
        if name != "uint64":
            x = Tensor(np.ones(300, name), dtype=None)
            for got in (x.sum(), x.prod(), x.cumsum(0)):
                assert got.dtype == np.int64
            assert x.sum().item() == 300


@pytest.mark.parametrize("signed", ["int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("name", COMPARISONS)
def test_uint64_and_signed_integers_compare_by_value(device, name, signed):
    compare = getattr(operator, name)
    us = [0, 1, 100, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 100]
    ss = [0, 1, 100, -1, -100, np.iinfo(signed).min, np.iinfo(signed).max]
    u, s = Tensor(np.array(us, "uint64"), dtype=None), Tensor(np.array(ss, signed), dtype=None)
    got = compare(u.reshape(-1, 1), s)
    assert got.dtype == bool
    assert got.tolist() == [[compare(a, b) for b in ss] for a in us]
    assert compare(s.reshape(-1, 1), u).tolist() == [[compare(b, a) for a in us] for b in ss]
    assert compare(u, np.array([-1], signed)).tolist() == [compare(a, -1) for a in us]
    assert compare(u, -1).tolist() == [compare(a, -1) for a in us]
    assert compare(s, 2**64 - 1).tolist() == [compare(b, 2**64 - 1) for b in ss]


def test_uint64_and_signed_integers_divide_by_value(device):
    got = Tensor([2**63, 2**64 - 1], dtype="uint64") / Tensor([-2, 4], dtype="int64")
    assert got.dtype == np.float32
    assert got.tolist() == [-(2.0**62), 2.0**62]


def test_arithmetic_of_uint64_with_int64_is_in_int64_or_refused(device):
    small, signed = Tensor([5, 7], dtype="uint64"), Tensor([-6, 2], dtype="int64")
    for function, want in (
        (ops.add, [-1, 9]),
        (ops.subtract, [11, 5]),
        (ops.multiply, [-30, 14]),
        (ops.maximum, [5, 7]),
        (ops.floor_divide, [-1, 3]),
        (lambda a, b: ops.concatenate([a, b]), [5, 7, -6, 2]),
        (lambda a, b: ops.where(a > 6, a, b), [-6, 7]),
    ):
        got = function(small, signed)
        assert got.dtype == np.int64
        assert got.tolist() == want
        large = Tensor([5, 2**63], dtype="uint64")
        for a, b in ((large, signed), (signed, large)):
            with pytest.raises(
                ValueError, match=r": the number 9223372036854775808 of a uint64 tens"
            ):
                function(a, b)
    assert (small + Tensor([1, 2], dtype="uint8")).dtype == np.uint64


def test_labels_and_indices_beyond_int64_do_not_come_round(device):
    largest = np.array([2**64 - 100, 0], "uint64")  # -100 in int64, which stands for ignored
    scores = Tensor(np.ones((2, 3)))
    with pytest.raises(IndexError, match=f"label {2**64 - 100} at position .0,. is outside"):
        ops.cross_entropy(scores, largest)
    with pytest.raises(IndexError, match="out of range for axis 0 with size 2"):
        scores[np.array([2**64 - 1], "uint64")]
    assert scores[np.array([1], "uint64")].shape == (1, 3)


def test_extremes_of_uint64(device):
    x = Tensor([3, 2**64 - 1, 2**63], dtype="uint64")
    assert (x.max().item(), x.min().item()) == (2**64 - 1, 3)
    assert (x.argmax().item(), x.argmin().item()) == (1, 0)
