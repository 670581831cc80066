"""Optimizers: trajectories against the published formulas, parameter groups, state, refusals."""

import math

import numpy as np
import pytest

from babygrad import Tensor
from babygrad.optim import SGD, Adagrad, Adam, AdamW, Lion, Muon, Optimizer, RMSprop

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
def test_t14_adams_first_step_is_lr_times_the_sign(device, g):
    p = Tensor([0.0], dtype="float64", requires_grad=True)
    p.grad = np.array([g])
    Adam([p], lr=1e-3).step()
    assert p.data[0] == pytest.approx(-1e-3 * np.sign(g), rel=2e-5)


def test_t14_eps_is_added_after_the_root(device):
    p = Tensor([0.0], dtype="float64", requires_grad=True)
    p.grad = np.array([1.0])
    Adam([p], lr=1.0, eps=1.0).step()
    assert p.data[0] == pytest.approx(-0.5, rel=1e-12)


def test_t14_adamw_shrinks_p_and_leaves_g_alone(device):
    p = Tensor([2.0], dtype="float64", requires_grad=True)
    p.grad = np.array([0.0])
    optimizer = AdamW([p], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert p.data[0] == pytest.approx(2.0 * (1 - 0.1 * 0.5), rel=1e-15)
    assert optimizer.m[p][0] == 0.0
    assert p.grad[0] == 0.0


def test_t14_adams_weight_decay_is_part_of_g(device):
    p = Tensor([2.0], dtype="float64", requires_grad=True)
    p.grad = np.array([0.0])
    optimizer = Adam([p], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert optimizer.m[p][0] == pytest.approx(0.1 * 0.5 * 2.0, rel=1e-12)


def test_t14_sgds_first_momentum_buffer_equals_g(device):
    p = Tensor([1.0, 2.0], requires_grad=True)
    p.grad = np.array([3.0, -4.0], np.float32)
    optimizer = SGD([p], lr=0.1, momentum=0.9)
    optimizer.step()
    assert optimizer.velocity[p].tolist() == [3.0, -4.0]


def test_t14_steps_are_counted_for_each_parameter(device):
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


def test_t14_a_parameter_given_twice_raises():
    p = Tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"SGD: parameter 1, of shape \(1,\), is given twice"):
        SGD([p, p])
    with pytest.raises(ValueError, match="given twice"):
        SGD([{"params": [p]}, {"params": [p]}])


@pytest.mark.parametrize("case", CASES)
def test_t14_a_state_dict_round_trip_continues_bit_identically(device, case):
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


# ----- The base class -----


def test_parameters_without_a_gradient_are_skipped(device):
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    q.grad = np.array([1.0], np.float32)
    for optimizer in (SGD([p, q], momentum=0.5), Adam([p, q]), Lion([p, q])):
        optimizer.step()
        assert p.data[0] == 1.0
        assert not any(p in getattr(optimizer, name) for name in optimizer.states)


def test_zero_grad_sets_none():
    p = Tensor([1.0], requires_grad=True)
    p.grad = [1.0]
    SGD([p]).zero_grad()
    assert p.grad is None


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", ">f4"])
def test_a_gradient_of_another_dtype_works(device, dtype):
    for cls in (SGD, Adam, RMSprop):
        p = Tensor([1.0, 2.0], requires_grad=True)
        twin = Tensor([1.0, 2.0], requires_grad=True)
        p.grad = np.array([1, -2]).astype(dtype)
        twin.grad = np.array([1, -2], np.float32)
        cls([p]).step()
        cls([twin]).step()
        assert p.dtype == np.float32
        assert p.tolist() == twin.tolist()


def test_a_step_writes_into_the_parameters_own_array_and_notes_it(device):
    p = Tensor([1.0, 2.0], requires_grad=True)
    array = p.data
    y = (p * p).sum()
    p.grad = np.array([1.0, 1.0], np.float32)
    SGD([p], lr=0.5).step()
    assert p.data is array
    assert array.tolist() == [0.5, 1.5]
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_parameters_on_two_devices_in_one_group():
    p = Tensor([1.0], device="cpu:numpy", requires_grad=True)
    q = Tensor([1.0], device="cpu:numba", requires_grad=True)
    for w in (p, q):
        w.grad = np.array([1.0], np.float32)
    Adam([p, q], lr=0.5).step()
    assert p.tolist() == pytest.approx([0.5])
    assert q.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1,), (67,)])
def test_any_shape(device, shape):
    for cls in (SGD, Adam, AdamW, RMSprop, Adagrad, Lion):
        p = Tensor(np.ones(shape), requires_grad=True)
        p.grad = np.ones(shape, np.float32)
        cls([p], lr=0.5).step()
        assert p.shape == shape
        assert np.all(p.data < 1)


def test_groups_have_their_own_settings():
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    optimizer = SGD([{"params": [p]}, {"params": [q], "lr": 0.25}], lr=0.5)
    for w in (p, q):
        w.grad = np.array([1.0], np.float32)
    optimizer.step()
    assert (p.item(), q.item()) == (0.5, 0.75)
    assert optimizer.lr == 0.5
    optimizer.lr = 0.125
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]
    assert optimizer.params[0] is p
    assert optimizer.params[1] is q
    assert repr(optimizer).startswith("SGD(1 parameters, lr=0.125, momentum=0.0")


def test_a_group_can_be_added_later():
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    optimizer = Adam([p], lr=0.5)
    optimizer.add_param_group({"params": q, "lr": 0.25})
    q.grad = np.array([1.0], np.float32)
    optimizer.step()
    assert q.item() == pytest.approx(0.75)


def test_the_books_own_subclass_works():
    class Plain(Optimizer):
        def __init__(self, params, lr=0.01):
            super().__init__(params)
            self.lr = lr

        def step(self):
            for param in self.params:
                if param.grad is not None:
                    param.data -= self.lr * param.grad

    p = Tensor([1.0], requires_grad=True)
    optimizer = Plain([p], lr=0.5)
    (p * p).sum().backward()
    optimizer.step()
    assert p.item() == 0.0
    assert optimizer.param_groups[0]["lr"] == 0.5
    with pytest.raises(AttributeError, match="Optimizer has no lr"):
        Optimizer([p]).lr  # noqa: B018 - reading it is the test
    p.grad = [1.0]
    with pytest.raises(NotImplementedError, match=r"Optimizer must define update\(\) or step\(\)"):
        Optimizer([p]).step()


def leaf():
    return Tensor([1.0], requires_grad=True)


REFUSALS = {
    "empty": (lambda: SGD([]), ValueError, "SGD: params is empty"),
    "one tensor": (lambda: SGD(leaf()), TypeError, "SGD: params is a Tensor; give a list"),
    "one group": (lambda: Adam({"params": [leaf()]}), TypeError, "Adam: params is a dict"),
    "array": (lambda: SGD([np.ones(2)]), TypeError, "parameter 0 is a ndarray, not a Tensor"),
    "no leaf": (lambda: SGD([leaf() * 2]), ValueError, r"of shape \(1,\), is the result of an op"),
    "mixed": (lambda: SGD([{"params": [leaf()]}, leaf()]), TypeError, "group 1 must be a dict"),
    "unknown": (
        lambda: SGD([{"params": [leaf()], "beta1": 0.5}]),
        ValueError,
        "SGD: a group sets beta1; it may set lr, momentum, nesterov, weight_decay",
    ),
    "lr": (lambda: SGD([leaf()], lr=-1), ValueError, r"SGD: lr \(=-1\) must be at least 0"),
    "nan": (lambda: SGD([leaf()], lr=math.nan), ValueError, r"lr \(=nan\) must be at least 0"),
    "beta": (lambda: Adam([leaf()], beta1=1.0), ValueError, r"beta1 \(=1.0\) .* below 1"),
    "betas": (lambda: Adam([leaf()], betas=(0.9, 0.99)), TypeError, "betas"),
    "nesterov": (
        lambda: SGD([leaf()], nesterov=True),
        ValueError,
        "SGD: nesterov needs momentum above 0",
    ),
    "muon": (
        lambda: Muon([leaf()]),
        ValueError,
        r'Muon: parameter 0 has shape \(1,\), which is no matrix; put it in a group with "adamw"',
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case):
    make_optimizer, error, message = REFUSALS[case]
    with pytest.raises(error, match=message):
        make_optimizer()


def test_hyperparameters_of_other_number_types_become_floats():
    optimizer = SGD([leaf()], lr=np.float32(0.5), momentum=0)
    assert type(optimizer.lr) is type(optimizer.momentum) is float
    optimizer.lr = 1
    assert type(optimizer.lr) is float


def test_an_attribute_out_of_range_is_refused():
    optimizer = SGD([leaf()])
    with pytest.raises(ValueError, match=r"SGD: lr \(=-0.5\) must be at least 0"):
        optimizer.lr = -0.5
    assert optimizer.lr == 0.01
