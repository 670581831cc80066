"""Optimizers at the edges of their types: float16 parameters, and gradients whose squares overflow.

The oracles are loops over Python floats, which are float64.
"""

import math

import numpy as np
import pytest

from babygrad import Tensor
from babygrad.optim import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    Muon,
    RMSprop,
    clip_grad_norm,
    clip_grad_value,
)

# Each rule is p, g, state, t -> the new p, with every number a Python float.


def sgd(lr=0.01, momentum=0.0, weight_decay=0.0):
    def rule(p, g, s, t):
        g += weight_decay * p
        s["v"] = momentum * s.get("v", 0.0) + g
        return p - lr * s["v"]

    return rule


def adam(lr=0.001, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False):
    def rule(p, g, s, t):
        p, g = (p - lr * weight_decay * p, g) if decoupled else (p, g + weight_decay * p)
        s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g * g
        return p - lr * s["m"] / (1 - b1**t) / (math.sqrt(s["v"] / (1 - b2**t)) + eps)

    return rule


def rmsprop(lr=0.01, alpha=0.99, eps=1e-8, momentum=0.0):
    def rule(p, g, s, t):
        s["v"] = alpha * s.get("v", 0.0) + (1 - alpha) * g * g
        s["b"] = momentum * s.get("b", 0.0) + g / (math.sqrt(s["v"]) + eps)
        return p - lr * s["b"]

    return rule


def adagrad(lr=0.01, eps=1e-10):
    def rule(p, g, s, t):
        s["v"] = s.get("v", 0.0) + g * g
        return p - lr * g / (math.sqrt(s["v"]) + eps)

    return rule


def lion(lr=1e-4, b1=0.9, b2=0.99):
    def rule(p, g, s, t):
        m = s.get("m", 0.0)
        s["m"] = b2 * m + (1 - b2) * g
        return p - lr * np.sign(b1 * m + (1 - b1) * g)

    return rule


def trajectory(rule, p, gradients):
    state = {}
    for t, g in enumerate(gradients, 1):
        p = rule(p, float(g), state, t)
        yield p


CASES = {
    "sgd": (SGD, {}, sgd()),
    "sgd-momentum": (
        SGD,
        {"momentum": 0.9, "weight_decay": 0.1},
        sgd(momentum=0.9, weight_decay=0.1),
    ),
    "adam": (Adam, {"lr": 0.01}, adam(0.01)),
    "adam-decay": (Adam, {"lr": 0.01, "weight_decay": 0.1}, adam(0.01, weight_decay=0.1)),
    "adamw": (AdamW, {"lr": 0.01}, adam(0.01, weight_decay=0.01, decoupled=True)),
    "rmsprop": (RMSprop, {}, rmsprop()),
    "rmsprop-momentum": (RMSprop, {"momentum": 0.9}, rmsprop(momentum=0.9)),
    "adagrad": (Adagrad, {}, adagrad()),
    "lion": (Lion, {"lr": 0.01}, lion(0.01)),
}
ADAPTIVE = ["adam", "adamw", "rmsprop", "rmsprop-momentum", "adagrad"]


def make(case, *values, dtype):
    cls, options, rule = CASES[case]
    params = [Tensor([value], dtype=dtype, requires_grad=True) for value in values]
    return cls(params, **options), params, rule


# ----- float16 -----


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("g", [0.0, 1e-4, -6e-8, 1.0, -300.0, 6e4])
def test_float16_parameters_are_updated_in_float32_and_rounded_once(device, case, g):
    optimizer, (p,), rule = make(case, 1.5, dtype="float16")
    state = {}
    for t in range(1, 6):
        p.grad = np.array([g], "float16")
        before, gradient = float(p.data[0]), float(p.grad[0])
        optimizer.step()
        assert p.dtype == np.float16
        want = rule(before, gradient, state, t)
        # The half ulp of the one rounding, and what float32 loses before it.
        bound = 0.501 * np.spacing(np.float16(abs(want))) + 1e-6 * abs(want)
        assert abs(float(p.data[0]) - want) <= bound
    for name in optimizer.states:
        for value in getattr(optimizer, name).values():
            assert isinstance(value, int) or value.dtype == np.float32


def test_a_float16_parameter_keeps_its_array_and_notes_the_write(device):
    p = Tensor([1.0, 2.0], dtype="float16", requires_grad=True)
    array, y = p.data, (p * p).sum()
    p.grad = np.ones(2, "float16")
    SGD([p], lr=0.5).step()
    assert p.data is array
    assert array.tolist() == [0.5, 1.5]
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_float16_and_float32_parameters_in_one_group(device):
    optimizer, (p, q), rule = make("adam", 1.0, 1.0, dtype="float32")
    q.data = q.data.astype("float16")
    optimizer = Adam([p, Tensor([1.0], dtype="float16", requires_grad=True)], lr=0.01)
    half = optimizer.params[1]
    for w in optimizer.params:
        w.grad = np.array([0.25], w.dtype)
    optimizer.step()
    (want,) = trajectory(rule, 1.0, [0.25])
    assert p.data[0] == pytest.approx(want, rel=1e-6)
    assert half.data[0] == np.float16(want)


def test_muon_of_float16_computes_in_float32(device):
    rng = np.random.default_rng(0)
    start, g = rng.normal(size=(4, 6)).astype("float16"), rng.normal(size=(4, 6)).astype("float16")
    half = Tensor(start, dtype=None, requires_grad=True)
    whole = Tensor(start, dtype="float64", requires_grad=True)
    half.grad, whole.grad = g * np.float16(1e-3), (g * np.float16(1e-3)).astype("float64")
    for p in (half, whole):
        Muon([p], lr=0.5).step()
    # Three digits of float16, on values up to 3; its own five rounds would leave fewer.
    np.testing.assert_allclose(half.data, whole.data, atol=2e-3)


def test_an_update_that_fails_leaves_float16_parameters_as_they_were(device):
    class Failing(SGD):
        def update(self, xp, params, grads, group):
            super().update(xp, params, grads, group)
            raise ArithmeticError

    p = Tensor([1.0], dtype="float16", requires_grad=True)
    array = p.data
    p.grad = np.ones(1, "float16")
    with pytest.raises(ArithmeticError):
        Failing([p]).step()
    assert p.data is array
    assert array.tolist() == [1.0]


@pytest.mark.parametrize("case", CASES)
def test_a_float16_state_round_trip_continues_bit_identically(device, case):
    optimizer, (p,), _ = make(case, 1.5, dtype="float16")
    twin, (q,), _ = make(case, 1.5, dtype="float16")
    for t in range(6):
        for w in (p, q):
            w.grad = np.array([0.3 * t - 0.5], "float16")
        optimizer.step()
        successor, _, _ = make(case, 1.0, dtype="float16")
        successor.param_groups[0]["params"] = [q]
        successor.load_state_dict(twin.state_dict())
        twin = successor
        twin.step()
    assert p.data.tobytes() == q.data.tobytes()


def test_a_saved_state_of_float16_arrays_is_taken_as_float32(device):
    optimizer, (p,), _ = make("adam", 1.0, dtype="float16")
    p.grad = np.array([0.5], "float16")
    optimizer.step()
    state = optimizer.state_dict()
    for name in ("m", "v"):
        state["state"][0][name] = state["state"][0][name].astype("float16")
    optimizer.load_state_dict(state)
    assert optimizer.m[p].dtype == optimizer.v[p].dtype == np.float32
    assert optimizer.m[p][0] == np.float16(0.05)


def test_clipping_float16_gradients_keeps_their_digits(device):
    p = Tensor(np.zeros(4), dtype="float16", requires_grad=True)
    p.grad = np.full(4, 6e4, "float16")
    norm = clip_grad_norm([p], 2e-3)
    assert norm == pytest.approx(2 * float(np.float16(6e4)), rel=1e-6)
    np.testing.assert_allclose(p.grad, np.full(4, 1e-3), rtol=1e-3)  # the factor alone would be 0
    assert p.grad.dtype == np.float16


# ----- Squares that overflow -----


@pytest.mark.parametrize("case", ADAPTIVE)
@pytest.mark.parametrize(
    "gradients",
    [[1e18, 1.0, -1e17, 5e18], [1e-18, 1.0, 1e18], [-1e18] * 40, [1e18] + [0.0] * 10],
    ids=["mixed", "rising", "steady", "once"],
)
def test_large_float32_gradients_take_the_steps_that_float64_takes(device, case, gradients):
    optimizer, (p,), rule = make(case, 0.25, dtype="float32")
    for want, g in zip(trajectory(rule, 0.25, gradients), gradients, strict=True):
        p.grad = np.array([g], np.float32)
        optimizer.step()
        # A dozen roundings of 6e-8 a step, of terms of at most 0.1 each.
        np.testing.assert_allclose(p.data, [want], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ADAPTIVE[:4])
@pytest.mark.parametrize("rest", [[], [0.0] * 5, [3e19, -1e20, 5e19]])
def test_one_gradient_of_1e20_does_not_freeze_the_parameter(device, case, rest):
    optimizer, (p,), rule = make(case, 0.25, dtype="float32")
    gradients = [1e20, *rest]
    for want, g in zip(trajectory(rule, 0.25, gradients), gradients, strict=True):
        p.grad = np.array([g], np.float32)
        optimizer.step()
        np.testing.assert_allclose(p.data, [want], rtol=1e-5, atol=1e-6)
    assert np.isfinite(optimizer.v[p]).all()


@pytest.mark.parametrize("case", ADAPTIVE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_first_step_of_any_finite_gradient_is_that_of_its_sign(device, case, dtype):
    huge = np.finfo(dtype).max
    for g in (1e19, 1e25, huge / 2, -huge):
        optimizer, (p,), rule = make(case, 0.25, dtype=dtype)
        p.grad = np.array([g], dtype)
        optimizer.step()
        # The rule at 1e10, where nothing overflows: from there on the step is one of the sign.
        (want,) = trajectory(rule, 0.25, [math.copysign(1e10, g)])
        np.testing.assert_allclose(p.data, [want], rtol=1e-5)


@pytest.mark.parametrize("case", ADAPTIVE)
def test_beyond_the_range_of_v_a_parameter_goes_on_moving(device, case):
    optimizer, (p,), _ = make(case, 0.25, dtype="float32")
    before = 0.25
    for _ in range(50):
        p.grad = np.array([1e30], np.float32)
        optimizer.step()
        assert np.isfinite(p.data[0])
        assert p.data[0] < before
        before = p.data[0]
    assert np.isfinite(optimizer.v[p]).all()


@pytest.mark.parametrize("case", ADAPTIVE)
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_gradients_that_are_not_finite_are_not_hidden(device, case, bad):
    optimizer, (p,), _ = make(case, 0.25, dtype="float32")
    p.grad = np.array([bad], np.float32)
    optimizer.step()
    assert not np.isfinite(p.data[0])


def test_an_element_beyond_the_range_leaves_its_neighbours_alone(device):
    """In rows long enough for vectors and their tails, and for several threads."""
    for cls in (Adam, RMSprop, Adagrad):
        p = Tensor(np.zeros((3, 20001)), requires_grad=True)
        twin = Tensor(np.zeros((3, 20001)), requires_grad=True)
        g = np.random.default_rng(0).normal(size=p.shape).astype(np.float32)
        p.grad, twin.grad = g.copy(), g
        p.grad[1, ::7] = 1e38
        for w in (p, twin):
            cls([w]).step()
        ordinary = np.ones(p.shape, bool)
        ordinary[1, ::7] = False
        assert p.data[ordinary].tobytes() == twin.data[ordinary].tobytes()
        assert np.isfinite(p.data).all()


def test_muon_of_gradients_whose_norm_overflows_in_float64(device):
    moved = []
    for scale in (1.0, 1e200):
        p = Tensor(np.zeros((3, 4)), dtype="float64", requires_grad=True)
        p.grad = np.random.default_rng(0).normal(size=(3, 4)) * scale
        Muon([p], lr=0.5).step()
        moved.append(p.data)
    np.testing.assert_allclose(moved[1], moved[0], rtol=1e-5)  # 1e-7 is added to the norm


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("g", [3e38, -3e38, 1e-3])
@pytest.mark.parametrize("size", [1, 37])
def test_nesterov_of_gradients_whose_sum_would_overflow(device, g, size):
    p = Tensor(np.zeros(size), requires_grad=True)
    p.grad = np.full(size, g, np.float32)
    SGD([p], lr=0.1, momentum=0.9, nesterov=True).step()
    np.testing.assert_allclose(p.data, np.full(size, -0.1 * (g + 0.9 * g)), rtol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("g", [np.full((3, 4), np.inf), np.diag([np.inf, 1.0, 2.0])])
def test_muon_of_an_infinite_gradient_is_nan_without_a_warning(device, dtype, g):
    p = Tensor(np.ones(g.shape), dtype=dtype, requires_grad=True)
    optimizer = Muon([p])
    for _ in range(2):
        p.grad = g.astype(dtype)
        optimizer.step()
    assert np.isnan(p.data).all()


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_clip_grad_norm_of_float64_neither_overflows_nor_vanishes(device, scale):
    p = Tensor([0.0, 0.0], dtype="float64", requires_grad=True)
    p.grad = np.array([3.0, 4.0]) * scale
    assert clip_grad_norm([p], scale) == pytest.approx(5 * scale, rel=1e-15)
    np.testing.assert_allclose(p.grad, np.array([0.6, 0.8]) * scale, rtol=1e-15)


def test_clip_grad_norm_by_a_factor_below_float32(device):
    p = Tensor([0.0, 0.0], requires_grad=True)
    p.grad = np.array([3e30, 4e30], np.float32)
    clip_grad_norm([p], 1e-20)
    np.testing.assert_allclose(p.grad, [6e-21, 8e-21], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float16", "float64"])
def test_clipping_gradients_of_another_type_gives_the_parameters(device, dtype):
    g = np.array([3, 4], dtype)
    g.flags.writeable = False
    p = Tensor([0.0, 0.0], requires_grad=True)
    p.grad = g
    assert clip_grad_norm([p], 1.0) == 5.0
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-6)
    p.grad = g
    clip_grad_value([p], 0.5)
    assert p.grad.tolist() == [0.5, 0.5]
    assert p.grad.dtype == np.float32
