"""`ReduceLROnPlateau`: what counts as progress, and what it does without."""

import math

import numpy as np
import pytest

from babygrad import Tensor
from babygrad.optim import SGD, ReduceLROnPlateau


def optimizer(*rates):
    params = [{"params": [Tensor([0.0], requires_grad=True)], "lr": lr} for lr in rates]
    return SGD(params)


def test_reduce_lr_on_plateau():
    schedule = ReduceLROnPlateau(optimizer(1.0, 0.5), factor=0.5, patience=1, min_lr=0.2)
    found = []
    for metric in [3.0, 2.0, 2.0, 2.0, 1.0, math.nan, 1.0, 1.0, 1.0]:
        schedule.step(metric)
        found.append(schedule.optimizer.lr)
    assert found == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2]
    assert schedule.optimizer.param_groups[1]["lr"] == 0.2


def test_reduce_lr_on_plateau_of_a_metric_that_rises():
    schedule = ReduceLROnPlateau(optimizer(1.0), mode="max", factor=0.5, patience=0)
    for metric in [0.5, 0.6, 0.60001]:
        schedule.step(metric)
    assert schedule.optimizer.lr == 0.5  # a gain below the threshold is none


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_plateau_takes_neither_nan_nor_the_worse_infinity_for_progress(mode, bad):
    bad = bad if mode == "min" else -bad
    schedule = ReduceLROnPlateau(optimizer(1.0), mode, factor=0.5, patience=3)
    for _ in range(8):
        schedule.step(bad)
    assert schedule.optimizer.lr == 0.25  # lowered at the fourth and the eighth
    assert schedule.best == (math.inf if mode == "min" else -math.inf)
    schedule.step(7.0)
    assert (schedule.best, schedule.waited) == (7.0, 0)
    schedule.step(bad)
    assert (schedule.best, schedule.waited) == (7.0, 1)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold", [0.0, 1e-4])
def test_nothing_is_better_than_the_best_infinity(mode, threshold):
    best = -math.inf if mode == "min" else math.inf
    schedule = ReduceLROnPlateau(optimizer(1.0), mode, patience=99, threshold=threshold)
    for metric in (best, 1.0, -1.0, best, math.nan, -best):
        schedule.step(metric)
    assert schedule.best == best
    assert schedule.waited == 5


@pytest.mark.parametrize("threshold", [0.0, 0.1])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_metric_must_be_better_by_its_part_of_the_best(threshold, sign):
    """`sign` mirrors the mode; the oracle is the rule in the class's words."""
    metrics = [1e308, 5.0, 4.6, 4.4, 4.4, 0.0, 0.0, -1e-300, -3.0, -3.2, -3.4]
    schedule = ReduceLROnPlateau(
        optimizer(1.0), "min" if sign == 1 else "max", patience=99, threshold=threshold
    )
    best = math.inf
    for metric in metrics:
        schedule.step(sign * metric)
        if best == math.inf or best - metric > threshold * abs(best):
            best = metric
        assert schedule.best == sign * best


@pytest.mark.parametrize(
    "metric",
    [Tensor([2.0]), Tensor(2.0), np.float32(2), np.array(2.0), np.int64(2), 2, 2.0],
    ids=lambda metric: type(metric).__name__,
)
def test_a_plateau_takes_any_single_number(metric):
    schedule = ReduceLROnPlateau(optimizer(1.0))
    schedule.step(metric)
    assert schedule.best == 2.0
    assert type(schedule.best) is float


@pytest.mark.parametrize(
    "metric", ["2.0", None, 2j, np.complex64(2), [2.0], np.array([1.0, 2.0]), Tensor([1.0, 2.0])]
)
def test_a_plateau_refuses_a_metric_that_is_no_number(metric):
    schedule = ReduceLROnPlateau(optimizer(1.0))
    with pytest.raises(TypeError, match=r"ReduceLROnPlateau.step: metric \(=.*must be a number"):
        schedule.step(metric)
    assert (schedule.best, schedule.waited) == (math.inf, 0)


def test_a_plateau_raises_no_rate_that_is_below_its_bound():
    schedule = ReduceLROnPlateau(optimizer(1.0, 0.1), patience=0, factor=0.5, min_lr=0.2)
    schedule.step(math.nan)
    assert [group["lr"] for group in schedule.optimizer.param_groups] == [0.5, 0.1]


def test_a_plateau_lowers_the_rate_of_a_group_that_was_added_later():
    schedule = ReduceLROnPlateau(optimizer(1.0), patience=0, factor=0.5)
    group = {"params": [Tensor([0.0], requires_grad=True)], "lr": 0.3}
    schedule.optimizer.add_param_group(group)
    schedule.step(math.nan)
    assert [group["lr"] for group in schedule.optimizer.param_groups] == [0.5, 0.15]


def test_a_resumed_plateau_goes_on():
    through = ReduceLROnPlateau(optimizer(1.0), patience=2)
    through.step(1.0)
    through.step(1.0)
    resumed = ReduceLROnPlateau(optimizer(1.0), patience=2)
    resumed.load_state_dict(through.state_dict())
    for schedule in (through, resumed):
        schedule.step(1.0)
        schedule.step(1.0)
    assert resumed.optimizer.lr == through.optimizer.lr == pytest.approx(0.1)
