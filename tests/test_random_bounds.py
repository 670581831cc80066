"""`rand` and the initializers stay below the bound that they exclude, in every type."""

from __future__ import annotations

import math

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, init, nn, random

LAST = math.nextafter(1.0, 0.0)  # the largest number that a generator draws
FLOATS = ["float16", "float32", "float64"]
BOUNDS = [
    (0.0, 1.0),
    (-1.0, 1.0),
    (-3.0, -2.0),
    (0.1, 0.7),
    (0.0, 0.1),
    (1.0, 1.0 + 2**-10),
    (1.0, 1.0 + 2**-23),
    (1.0, math.nextafter(1.0, 2.0)),
    (0.0, 6e4),
    (-6e4, 6e4),
    (0, 3),
]


@pytest.fixture(params=[0.0, 0.5, 1 - 2**-12, 1 - 2**-26, LAST])
def draw(request, monkeypatch):
    """What every draw gives: the ends of [0, 1), and what a type rounds to 1."""
    monkeypatch.setattr(
        random, "uniform", lambda shape, generator=None: np.full(shape, request.param)
    )
    return request.param


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_the_upper_bound_is_excluded_and_the_rest_rounded(device, draw, name, low, high):
    (value,) = Tensor.rand(1, low=low, high=high, dtype=name).tolist()
    assert low - abs(low) * np.finfo(name).eps <= value < high
    exact = draw * (high - low) + low
    if np.dtype(name).type(exact) < np.dtype(name).type(high):
        assert value == np.dtype(name).type(exact)
    else:
        largest = np.nextafter(np.dtype(name).type(high), np.dtype(name).type(-np.inf))
        assert value == max(largest, low)


def test_a_million_draws_of_float16(device):
    np.random.seed(0)
    assert (np.random.rand(1 << 20).astype("float16") == 1).any(), "rounding alone reaches it"
    np.random.seed(0)
    assert Tensor.rand(1 << 20, dtype="float16").data.max() < 1
    generator = np.random.default_rng(0)
    values = init.rand(1 << 20, low=-2, high=2, dtype="float16", generator=generator).data
    assert values.min() >= -2
    assert values.max() < 2


@pytest.mark.parametrize("name", FLOATS)
def test_initializers_stay_below_their_bound(device, draw, name):
    for tensor, bound in (
        (init.xavier_uniform(3, 5, dtype=name), math.sqrt(6 / 8)),
        (init.kaiming_uniform(3, 5, dtype=name), math.sqrt(6 / 3)),
    ):
        assert np.abs(tensor.data).max() <= bound * (1 + np.finfo(name).eps)
        assert (tensor.data < np.dtype(name).type(bound)).all()


def test_a_seed_gives_the_values_that_it_always_gave(device):
    np.random.seed(7)
    expected = (np.random.rand(5, 4) * (0.25 + 1.5) - 1.5).astype("float32")
    np.random.seed(7)
    got = Tensor.rand(5, 4, low=-1.5, high=0.25)
    np.testing.assert_array_equal(got.data, expected)
    babygrad.manual_seed(7)
    try:
        bound = math.sqrt(6 / 4)
        expected = np.random.default_rng(7).random((4, 2)) * 2 * bound - bound
        np.testing.assert_allclose(nn.Linear(4, 2).weight.data, expected, rtol=1e-6)
    finally:
        babygrad.manual_seed(None)


@pytest.mark.parametrize("name", FLOATS)
def test_equal_bounds_give_that_number(device, name):
    assert Tensor.rand(3, low=2, high=2, dtype=name).tolist() == [2, 2, 2]


def test_spans_beyond_the_type_stay_finite(device, draw):
    largest = np.finfo("float64").max
    (value,) = Tensor.rand(1, low=-largest, high=largest, dtype="float64").tolist()
    assert -largest <= value < largest
    (value,) = Tensor.rand(1, low=0, high=1e6, dtype="float16").tolist()
    assert 0 <= value <= np.finfo("float16").max
    # No float32 lies within these bounds.
    (value,) = Tensor.rand(1, low=0.1, high=0.1 + 1e-10).tolist()
    assert value == pytest.approx(0.1, abs=1e-7)
    assert value < 0.1 + 1e-10


def test_integers_are_rounded_down(device, draw):
    (value,) = Tensor.rand(1, low=-5, high=-3, dtype="int64").tolist()
    assert value == min(math.floor(draw * 2 - 5), -4)
    assert Tensor.rand(1, low=0, high=2**40, dtype="int64").item() < 2**40


@pytest.mark.parametrize(
    ("low", "high"), [(1, 0), (0, math.inf), (-math.inf, 0), (math.nan, 1), (0, math.nan)]
)
def test_bounds_that_hold_nothing_are_refused(low, high):
    with pytest.raises(ValueError, match=r"^rand: low \(=.*\) must be at most high"):
        Tensor.rand(2, low=low, high=high)


def test_bounds_that_the_type_has_nothing_between_are_refused():
    for low, high in ((1e8, 2e8), (-2e6, -1e6)):
        with pytest.raises(ValueError, match=r"^rand: there is no float16 between low .* and high"):
            Tensor.rand(3, low=low, high=high, dtype="float16")
    assert np.isfinite(Tensor.rand(9, low=-65504, high=65504, dtype="float16").data).all()
