"""Gradient clipping and learning-rate schedules."""

import math

import numpy as np
import pytest

from babygrad import Tensor
from babygrad.optim import (
    SGD,
    CosineLR,
    LinearWarmup,
    OneCycleLR,
    ReduceLROnPlateau,
    Scheduler,
    StepLR,
    clip_grad_norm,
    clip_grad_value,
)


def with_gradients(*gradients, dtype="float64"):
    params = []
    for g in gradients:
        p = Tensor(np.zeros(np.shape(g)), dtype=dtype, requires_grad=True)
        p.grad = np.array(g, dtype)
        params.append(p)
    return params


# ----- Clipping -----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clip_grad_norm_scales_and_returns_the_norm_before(device, dtype):
    params = with_gradients([3.0, 0.0], [[4.0]], dtype=dtype)
    without = Tensor([1.0], requires_grad=True)
    assert clip_grad_norm([*params, without], 1.0) == 5.0
    # max_norm / norm is 0.2, rounded once in float64 and once in the dtype.
    np.testing.assert_allclose(params[0].grad, [0.6, 0.0], rtol=np.finfo(dtype).eps)
    np.testing.assert_allclose(params[1].grad, [[0.8]], rtol=np.finfo(dtype).eps)
    assert params[0].grad.dtype == dtype
    assert without.grad is None


def test_clip_grad_norm_leaves_small_and_zero_gradients(device):
    params = with_gradients([0.3, 0.4])
    assert clip_grad_norm(params, 1.0) == pytest.approx(0.5, rel=1e-15)
    assert params[0].grad.tolist() == [0.3, 0.4]
    params = with_gradients([0.0, 0.0])
    assert clip_grad_norm(params, 0.0) == 0.0
    assert params[0].grad.tolist() == [0.0, 0.0]
    assert clip_grad_norm([], 1.0) == 0.0


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_norm_that_is_not_finite_is_reported(device, bad):
    params = with_gradients([1.0, bad], [2.0])
    norm = clip_grad_norm(params, 1.0)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
    assert params[1].grad.tolist() == [2.0]
    with pytest.raises(RuntimeError, match=f"the norm of the gradients is {norm}"):
        clip_grad_norm(params, 1.0, error_if_nonfinite=True)


def test_clip_grad_norm_of_float32_does_not_overflow(device):
    params = with_gradients([3e30, 4e30], dtype="float32")
    assert clip_grad_norm(params, 1.0) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(params[0].grad, [0.6, 0.8], rtol=1e-6)


def test_clipping_one_of_two_gradients_that_share_an_array(device):
    shared = np.array([3.0, 4.0])
    p, q = with_gradients([0.0, 0.0], [0.0, 0.0])
    p.grad, q.grad = shared, shared
    clip_grad_norm([p], 1.0)
    assert q.grad.tolist() == [3.0, 4.0]


def test_clip_grad_value(device):
    (p,) = with_gradients([-5.0, -0.5, 0.0, 7.0, math.nan])
    clip_grad_value([p], 1.0)
    np.testing.assert_array_equal(p.grad, [-1.0, -0.5, 0.0, 1.0, math.nan])


def test_linear_warmup_goes_before_a_schedule_of_steps_only():
    inner = optimizer(1.0)
    with pytest.raises(TypeError, match="LinearWarmup: after is a ReduceLROnPlateau; it must be"):
        LinearWarmup(inner, 2, ReduceLROnPlateau(inner))


def test_clipping_refuses_a_negative_or_nan_bound():
    with pytest.raises(ValueError, match=r"clip_grad_norm: max_norm \(='1'\) must not be negative"):
        clip_grad_norm([], "1")
    with pytest.raises(ValueError, match=r"clip_grad_norm: max_norm \(=-1\) must not be negative"):
        clip_grad_norm([], -1)
    with pytest.raises(ValueError, match=r"clip_grad_value: max_value \(=nan\)"):
        clip_grad_value([], math.nan)


# ----- Schedules -----


def optimizer(*rates):
    params = [{"params": [Tensor([0.0], requires_grad=True)], "lr": lr} for lr in rates]
    return SGD(params)


def rates(schedule, steps):
    """The learning rates of the first group at step 0, 1, ..."""
    found = [schedule.optimizer.lr]
    for _ in range(steps):
        schedule.step()
        found.append(schedule.optimizer.lr)
    return found


SCHEDULES = {
    "step": lambda o: StepLR(o, 3),
    "cosine": lambda o: CosineLR(o, 20),
    "warmup": lambda o: LinearWarmup(o, 5, CosineLR(o, 20)),
    "one-cycle": lambda o: OneCycleLR(o, 1.0, 20),
}


def test_step_lr():
    found = rates(StepLR(optimizer(1.0), step_size=3, gamma=0.5), 7)
    assert found == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_cosine_lr():
    found = rates(CosineLR(optimizer(1.0), total_steps=4, min_lr=0.2), 6)
    half = math.sqrt(0.5)
    expected = [1.0, 0.6 + 0.4 * half, 0.6, 0.6 - 0.4 * half, 0.2, 0.2, 0.2]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_linear_warmup_alone_and_before_another():
    assert rates(LinearWarmup(optimizer(1.0), 4), 5) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    inner = optimizer(1.0)
    found = rates(LinearWarmup(inner, 2, StepLR(inner, step_size=2, gamma=0.1)), 6)
    np.testing.assert_allclose(found, [0.5, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01], rtol=1e-15)


def test_linear_warmup_before_a_schedule_that_starts_below_its_base():
    inner = optimizer(3.0)
    schedule = LinearWarmup(inner, 1, OneCycleLR(inner, max_lr=1.0, total_steps=10))
    assert inner.lr == 3.0
    schedule.step()
    assert inner.lr == pytest.approx(1 / 25)


def test_one_cycle_lr():
    found = rates(OneCycleLR(optimizer(9.0), max_lr=1.0, total_steps=10, pct_start=0.5), 12)
    assert found[0] == pytest.approx(1 / 25, rel=1e-15)
    assert found[4] == pytest.approx(1.0, rel=1e-15)
    assert found[2] == pytest.approx((1 + 1 / 25) / 2, rel=1e-12)  # half way up
    assert found[9] == found[12] == pytest.approx(1 / 25 / 1e4, rel=1e-9)
    assert max(found) == found[4]


def test_every_group_keeps_its_own_base():
    groups = optimizer(1.0, 0.1)
    rates(StepLR(groups, step_size=1, gamma=0.5), 2)
    assert [group["lr"] for group in groups.param_groups] == [0.25, 0.025]


def added(schedule, lr):
    group = {"params": [Tensor([0.0], requires_grad=True)], "lr": lr}
    schedule.optimizer.add_param_group(group)


@pytest.mark.parametrize("case", SCHEDULES)
@pytest.mark.parametrize("after", [0, 3, 7])
def test_a_group_that_is_added_later_follows_the_schedule_from_its_own_rate(case, after):
    """It has the rates that a group with this base would have had from the beginning."""
    schedule, other = SCHEDULES[case](optimizer(1.0)), SCHEDULES[case](optimizer(1.0, 0.3))
    for _ in range(after):
        schedule.step()
        other.step()
    added(schedule, 0.3)
    assert schedule.optimizer.param_groups[1]["lr"] == 0.3
    for _ in range(8):
        schedule.step()
        other.step()
        found, wanted = (s.optimizer.param_groups for s in (schedule, other))
        assert [group["lr"] for group in found] == [group["lr"] for group in wanted]
    assert schedule.base == [1.0, 0.3]


@pytest.mark.parametrize("case", SCHEDULES)
@pytest.mark.parametrize("steps", [0, 2])
def test_a_state_has_the_base_of_a_group_that_was_added_later(case, steps):
    through, resumed = (SCHEDULES[case](optimizer(1.0)) for _ in range(2))
    through.step()
    for schedule in (through, resumed):
        added(schedule, 0.3)
    for _ in range(steps):
        through.step()
    resumed.load_state_dict(through.state_dict())
    for _ in range(3):
        through.step()
        resumed.step()
    found, wanted = (s.optimizer.param_groups for s in (resumed, through))
    assert [group["lr"] for group in found] == [group["lr"] for group in wanted]


def test_a_group_that_was_added_between_a_schedule_and_the_warmup_before_it():
    inner = optimizer(1.0)
    after = StepLR(inner, step_size=1, gamma=0.5)
    inner.add_param_group({"params": [Tensor([0.0], requires_grad=True)], "lr": 0.4})
    warmup = LinearWarmup(inner, 2, after)
    seen = []
    for _ in range(4):
        seen.append([group["lr"] for group in inner.param_groups])
        warmup.step()
    np.testing.assert_allclose(seen, [[0.5, 0.2], [1.0, 0.4], [1.0, 0.4], [0.5, 0.2]], rtol=1e-15)


def test_a_group_that_is_gone_is_named():
    schedule = StepLR(optimizer(1.0, 2.0), 1)
    schedule.optimizer.param_groups.pop()
    with pytest.raises(ValueError, match="StepLR: the optimizer has 1 parameter groups, fewer"):
        schedule.step()
    assert schedule.t == 0


def test_a_rule_that_fails_changes_nothing():
    class Short(Scheduler):
        def learning_rate(self, base, t):
            return [1.0, 0.5][t] * base

    schedule = Short(optimizer(1.0))
    schedule.step()
    with pytest.raises(IndexError):
        schedule.step()
    assert (schedule.t, schedule.optimizer.lr) == (1, 0.5)


@pytest.mark.parametrize(("base", "gamma"), [(1.0, 10.0), (1.0, 10), (1e300, 10.0), (5e-324, 1e9)])
def test_a_gamma_that_raises_the_rate_beyond_all_floats_is_named(base, gamma):
    schedule = StepLR(optimizer(base), 1, gamma)
    message = r"^StepLR: gamma \(=1?[0-9e+]+\) has raised the learning rate .* at step \d+; choose"
    with pytest.raises(ValueError, match=message) as caught:
        rates(schedule, 400)
    t = schedule.t
    assert f"at step {t + 1};" in str(caught.value)
    assert schedule.optimizer.lr == base * float(gamma) ** t < math.inf
    with pytest.raises(ValueError, match=message):
        schedule.load_state_dict({"t": 400, "base": [base]})
    assert schedule.t == t


def test_a_rate_of_zero_stays_zero_whatever_gamma_is():
    assert rates(StepLR(optimizer(0.0), 1, 10.0), 400)[-1] == 0.0


def test_counts_may_be_numpys_integers():
    assert StepLR(optimizer(1.0), np.int64(3)).step_size == 3
    assert LinearWarmup(optimizer(1.0), np.int32(4)).optimizer.lr == 0.25


@pytest.mark.parametrize("case", SCHEDULES)
def test_a_resumed_schedule_goes_on_as_the_other_would(case):
    make = SCHEDULES[case]
    through = make(optimizer(1.0))
    rates(through, 7)
    resumed = make(optimizer(0.3))
    resumed.load_state_dict(through.state_dict())
    assert resumed.optimizer.lr == through.optimizer.lr
    assert rates(resumed, 10) == rates(through, 10)


REFUSALS = {
    "step": (lambda: StepLR(optimizer(1.0), 0), r"StepLR: step_size \(=0\) must be a positive int"),
    "cosine": (lambda: CosineLR(optimizer(1.0), 1.5), r"total_steps \(=1.5\)"),
    "warmup": (lambda: LinearWarmup(optimizer(1.0), True), r"warmup_steps \(=True\)"),
    "cycle": (lambda: OneCycleLR(optimizer(1.0), 1.0, 10, 1.0), r"pct_start \(=1.0\) must be betw"),
    "mode": (lambda: ReduceLROnPlateau(optimizer(1.0), "low"), r"mode \(='low'\) must be 'min'"),
    "factor": (lambda: ReduceLROnPlateau(optimizer(1.0), factor=2), r"factor \(=2\) must be betw"),
    "patience": (lambda: ReduceLROnPlateau(optimizer(1.0), patience=-1), r"patience \(=-1\) must"),
    "threshold": (
        lambda: ReduceLROnPlateau(optimizer(1.0), threshold=-0.1),
        r"threshold \(=-0.1",
    ),
    "gamma": (lambda: StepLR(optimizer(1.0), 1, "0.1"), r"StepLR: gamma \(='0.1'\) must be at"),
    "min_lr": (lambda: CosineLR(optimizer(1.0), 9, None), r"CosineLR: min_lr \(=None\) must be at"),
    "max_lr": (lambda: OneCycleLR(optimizer(1.0), -1.0, 10), r"OneCycleLR: max_lr \(=-1.0\) must"),
    "divisor": (
        lambda: OneCycleLR(optimizer(1.0), 1.0, 10, div_factor=0),
        r"OneCycleLR: div_factor \(=0\) must be above 0",
    ),
    "divisor of a float": (
        lambda: OneCycleLR(optimizer(1.0), 1.0, 10, div_factor=1e-320),
        r"OneCycleLR: max_lr \(=1.0\) by div_factor \(=1e-320\) and .* must be finite",
    ),
    "groups": (
        lambda: StepLR(optimizer(1.0), 1).load_state_dict({"t": 1, "base": [1.0, 2.0]}),
        "the state is of 2 parameter groups, the optimizer has 1",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case):
    call, message = REFUSALS[case]
    with pytest.raises(ValueError, match=message):
        call()


SCHEDULES_OF_ANYTHING = {
    "StepLR": lambda o: StepLR(o, 2),
    "CosineLR": lambda o: CosineLR(o, 5),
    "LinearWarmup": lambda o: LinearWarmup(o, 5),
    "OneCycleLR": lambda o: OneCycleLR(o, 1.0, 5),
    "ReduceLROnPlateau": ReduceLROnPlateau,
}


@pytest.mark.parametrize("name", SCHEDULES_OF_ANYTHING)
def test_a_schedule_is_of_an_optimizer(name):
    make = SCHEDULES_OF_ANYTHING[name]
    for wrong in (None, 5, [1.0], Tensor([1.0])):
        kind = type(wrong).__name__
        message = f"^{name}: optimizer is a {kind}; it must be an Optimizer$"
        with pytest.raises(TypeError, match=message):
            make(wrong)
    with pytest.raises(TypeError, match=f"^{name}: optimizer is the class SGD; give an instance$"):
        make(SGD)
    with pytest.raises(TypeError, match=r"^LinearWarmup: optimizer is a NoneType; it must be an O"):
        LinearWarmup(None, 5, StepLR(optimizer(1.0), 2))


def test_a_subclass_must_say_what_the_rate_is():
    with pytest.raises(NotImplementedError, match=r"Scheduler must define learning_rate"):
        Scheduler(optimizer(1.0))
