"""Optimizers: trajectories against the published formulas, and their state."""

import math

import numpy as np
import pytest

from babygrad import Tensor
from babygrad.optim import SGD, Adagrad, Adam, AdamW, Lion, Muon, RMSprop

# ----- The problem: f(w) = sum(w^4)/4 + |A w|^2/2, for a 3x4 matrix and a vector of 5 -----

SHAPES = [(3, 4), (5,)]


def start(seed=3):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in SHAPES]


def gradient(w):
    """Of the problem, elementwise: w^3 + scale * w with a different scale for each element."""
    scale = np.linspace(0.1, 3.0, w.size).reshape(w.shape)
    return w**3 + scale * w


# ----- The published formulas, one scalar at a time -----


def elementwise(rule):
    """A rule for one scalar and its state, applied to each element of an array for itself."""

    def trajectory(w, steps):
        flat, shape = w.ravel().tolist(), w.shape
        states = [{} for _ in flat]
        for t in range(1, steps + 1):
            g = gradient(np.array(flat).reshape(shape)).ravel().tolist()
            flat = [rule(p, g[i], states[i], t) for i, p in enumerate(flat)]
        return np.array(flat).reshape(shape)

    return trajectory


def sgd(lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    def rule(p, g, s, t):
        g += weight_decay * p
        if t == 1:
            s["v"] = g  # the first buffer equals g
        else:
            s["v"] = momentum * s["v"] + g
        return p - lr * (g + momentum * s["v"] if nesterov else s["v"])

    return elementwise(rule)


def adam(lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False):
    def rule(p, g, s, t):
        if decoupled:
            p -= lr * weight_decay * p
        else:
            g += weight_decay * p
        s["m"] = beta1 * s.get("m", 0.0) + (1 - beta1) * g
        s["v"] = beta2 * s.get("v", 0.0) + (1 - beta2) * g * g
        m_hat = s["m"] / (1 - beta1**t)
        v_hat = s["v"] / (1 - beta2**t)
        return p - lr * m_hat / (math.sqrt(v_hat) + eps)

    return elementwise(rule)


def rmsprop(lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0):
    def rule(p, g, s, t):
        g += weight_decay * p
        s["v"] = alpha * s.get("v", 0.0) + (1 - alpha) * g * g
        s["b"] = momentum * s.get("b", 0.0) + g / (math.sqrt(s["v"]) + eps)
        return p - lr * s["b"]

    return elementwise(rule)


def adagrad(lr, eps=1e-10, weight_decay=0.0):
    def rule(p, g, s, t):
        g += weight_decay * p
        s["v"] = s.get("v", 0.0) + g * g
        return p - lr * g / (math.sqrt(s["v"]) + eps)

    return elementwise(rule)


def lion(lr, beta1=0.9, beta2=0.99, weight_decay=0.0):
    def rule(p, g, s, t):
        m = s.get("m", 0.0)
        mixed = beta1 * m + (1 - beta1) * g
        s["m"] = beta2 * m + (1 - beta2) * g
        sign = (mixed > 0) - (mixed < 0)
        return p - lr * (sign + weight_decay * p)

    return elementwise(rule)


def muon(lr, momentum=0.95, weight_decay=0.0, nesterov=True):
    """Jordan's algorithm, the matrix transposed so that it is never tall."""
    vector = adam(lr, 0.9, 0.95, 1e-8, weight_decay, decoupled=True)

    def trajectory(w, steps):
        if w.ndim != 2:
            return vector(w, steps)
        m = np.zeros_like(w)
        for _ in range(steps):
            g = gradient(w)
            m = momentum * m + (1 - momentum) * g
            x = (1 - momentum) * g + momentum * m if nesterov else m
            wide = w.shape[0] <= w.shape[1]
            x = x if wide else x.T
            x = x / (np.sqrt(np.sum(x * x)) + 1e-7)
            for _ in range(5):
                a = np.einsum("ik,jk->ij", x, x)
                b = -4.7750 * a + 2.0315 * np.einsum("ik,kj->ij", a, a)
                x = 3.4445 * x + np.einsum("ik,kj->ij", b, x)
            x = x if wide else x.T
            scale = math.sqrt(max(1, w.shape[1] / w.shape[0]))
            w = w - lr * weight_decay * w - lr * scale * x
        return w

    return trajectory


CASES = {
    "sgd": (SGD, {"lr": 0.05}, sgd(0.05)),
    "sgd-decay": (SGD, {"lr": 0.05, "weight_decay": 0.1}, sgd(0.05, 0.0, 0.1)),
    "sgd-momentum": (
        SGD,
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1},
        sgd(0.02, 0.9, 0.1),
    ),
    "sgd-nesterov": (
        SGD,
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
        sgd(0.02, 0.9, 0.1, True),
    ),
    "adam": (Adam, {"lr": 0.03}, adam(0.03)),
    "adam-options": (
        Adam,
        {"lr": 0.03, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.2},
        adam(0.03, 0.8, 0.95, 1e-3, 0.2),
    ),
    "adamw": (
        AdamW,
        {"lr": 0.03, "weight_decay": 0.2},
        adam(0.03, weight_decay=0.2, decoupled=True),
    ),
    "rmsprop": (RMSprop, {"lr": 0.02}, rmsprop(0.02)),
    "rmsprop-options": (
        RMSprop,
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.8},
        rmsprop(0.01, 0.9, 1e-3, 0.1, 0.8),
    ),
    "adagrad": (Adagrad, {"lr": 0.2, "weight_decay": 0.1}, adagrad(0.2, weight_decay=0.1)),
    "lion": (Lion, {"lr": 0.013, "weight_decay": 0.3}, lion(0.013, weight_decay=0.3)),
    "muon": (Muon, {"lr": 0.02, "weight_decay": 0.1}, muon(0.02, weight_decay=0.1)),
    "muon-plain": (
        Muon,
        {"lr": 0.02, "momentum": 0.8, "nesterov": False},
        muon(0.02, 0.8, nesterov=False),
    ),
}


def make(cls, params, **options):
    if cls is Muon:
        matrices = [p for p in params if p.ndim == 2]
        others = [p for p in params if p.ndim != 2]
        params = [{"params": matrices}, {"params": others, "adamw": True}]
    return cls(params, **options)


def run(optimizer, params, steps):
    for _ in range(steps):
        for p in params:
            p.grad = gradient(p.numpy())
        optimizer.step()


@pytest.mark.parametrize("case", CASES)
def test_100_float64_steps_follow_the_published_formulas(device, case):
    cls, options, expected = CASES[case]
    params = [Tensor(w, dtype="float64", requires_grad=True) for w in start()]
    run(make(cls, params, **options), params, 100)
    # Each step rounds a dozen times (2e-16 each), and the problem contracts; 100 steps of it
    # stay far below 1e-12 unless a formula differs.
    for p, w in zip(params, start(), strict=True):
        np.testing.assert_allclose(p.data, expected(w, 100), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("tall", [False, True])
def test_muon_moves_by_a_matrix_with_singular_values_near_one(device, tall):
    w = np.random.default_rng(0).normal(size=(8, 3) if tall else (3, 8))
    p = Tensor(np.zeros_like(w), dtype="float64", requires_grad=True)
    p.grad = w
    Muon([p], lr=1.0).step()
    scale = 1.0 if tall else math.sqrt(8 / 3)
    values = np.linalg.svd(p.data / scale, compute_uv=False)
    assert np.all((values > 0.6) & (values < 1.3))


@pytest.mark.parametrize("case", CASES)
def test_float32_parameters_keep_float32_values_and_state(device, case):
    cls, options, expected = CASES[case]
    params = [Tensor(w, requires_grad=True) for w in start()]
    optimizer = make(cls, params, **options)
    run(optimizer, params, 10)
    for p, w in zip(params, start(), strict=True):
        assert p.dtype == np.float32
        # Ten steps of at most 20 roundings of 6e-8 relative to values up to 3; Muon's five rounds
        # amplify an error by at most 3.4445 each, where a singular value is small.
        atol = 2e-2 if cls is Muon else 1e-4
        np.testing.assert_allclose(p.data, expected(w.astype(np.float32), 10), atol=atol)
    for name in optimizer.states:
        for value in getattr(optimizer, name).values():
            assert isinstance(value, int) or value.dtype == np.float32


# ----- T14, case by case -----


@pytest.mark.parametrize("g", [1e-3, 1.0, 1e6, -5.0])
def test_adams_first_step_is_lr_times_the_sign(device, g):
    p = Tensor([0.0], dtype="float64", requires_grad=True)
    p.grad = np.array([g])
    Adam([p], lr=1e-3).step()
    assert p.data[0] == pytest.approx(-1e-3 * np.sign(g), rel=2e-5)


def test_eps_is_added_after_the_root(device):
    p = Tensor([0.0], dtype="float64", requires_grad=True)
    p.grad = np.array([1.0])
    Adam([p], lr=1.0, eps=1.0).step()
    assert p.data[0] == pytest.approx(-0.5, rel=1e-12)


def test_adamw_shrinks_p_and_leaves_g_alone(device):
    p = Tensor([2.0], dtype="float64", requires_grad=True)
    p.grad = np.array([0.0])
    optimizer = AdamW([p], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert p.data[0] == pytest.approx(2.0 * (1 - 0.1 * 0.5), rel=1e-15)
    assert optimizer.m[p][0] == 0.0
    assert p.grad[0] == 0.0


def test_adams_weight_decay_is_part_of_g(device):
    p = Tensor([2.0], dtype="float64", requires_grad=True)
    p.grad = np.array([0.0])
    optimizer = Adam([p], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert optimizer.m[p][0] == pytest.approx(0.1 * 0.5 * 2.0, rel=1e-12)


def test_sgds_first_momentum_buffer_equals_g(device):
    p = Tensor([1.0, 2.0], requires_grad=True)
    p.grad = np.array([3.0, -4.0], np.float32)
    optimizer = SGD([p], lr=0.1, momentum=0.9)
    optimizer.step()
    assert optimizer.velocity[p].tolist() == [3.0, -4.0]


def test_steps_are_counted_for_each_parameter(device):
    late, early = (Tensor([0.0], dtype="float64", requires_grad=True) for _ in range(2))
    optimizer = Adam([late, early], lr=1e-3)
    for _ in range(10):
        early.grad = np.array([1.0])
        optimizer.step()
    late.grad = np.array([1.0])
    optimizer.step()
    assert optimizer.t == 11
    assert optimizer.steps == {early: 11, late: 1}
    assert late.data[0] == pytest.approx(-1e-3, rel=1e-6)  # corrected as a first step


def test_a_parameter_given_twice_raises():
    p = Tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"SGD: parameter 1, of shape \(1,\), is given twice"):
        SGD([p, p])
    with pytest.raises(ValueError, match="given twice"):
        SGD([{"params": [p]}, {"params": [p]}])


@pytest.mark.parametrize("case", CASES)
def test_a_state_dict_round_trip_continues_bit_identically(device, case):
    cls, options, _ = CASES[case]
    through = [Tensor(w, requires_grad=True) for w in start()]
    optimizer = make(cls, through, **options)
    run(optimizer, through, 7)

    resumed = [Tensor(p.data, requires_grad=True) for p in through]
    successor = make(cls, resumed, lr=0.5)
    successor.load_state_dict(optimizer.state_dict())
    run(optimizer, through, 7)
    run(successor, resumed, 7)
    assert successor.t == optimizer.t == 14
    for p, q in zip(through, resumed, strict=True):
        assert p.data.tobytes() == q.data.tobytes()


def test_a_state_dict_is_a_copy():
    p = Tensor([1.0], requires_grad=True)
    optimizer = Adam([p])
    run(optimizer, [p], 1)
    state = optimizer.state_dict()
    before = state["state"][0]["m"].copy()
    run(optimizer, [p], 3)
    assert state["state"][0]["m"] == before
    assert state["state"][0]["steps"] == state["t"] == 1
    optimizer.load_state_dict(state)
    run(optimizer, [p], 1)
    assert state["state"][0]["m"] == before


def test_a_state_of_other_groups_shapes_or_names_is_refused_whole():
    p, q = Tensor([1.0, 2.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    optimizer = Adam([p])
    run(optimizer, [p], 1)
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"groups with \[1\] parameters, the optimizer's .* \[2\]"):
        Adam([p, q]).load_state_dict(state)
    other = Adam([q])
    with pytest.raises(ValueError, match=r"m of parameter 0 has shape \(2,\), .* has \(1,\)"):
        other.load_state_dict(state)
    assert other.t == 0
    assert other.m == {}
    with pytest.raises(ValueError, match="only one of the two has beta1, beta2, eps, momentum"):
        SGD([p]).load_state_dict(state)
    state["state"][0]["w"] = state["state"][0]["m"]
    with pytest.raises(ValueError, match="a state 'w', which this optimizer does not keep"):
        Adam([p]).load_state_dict(state)
