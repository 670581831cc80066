"""Losses beside infinite logits, and where the prediction is sure: what counts 0 adds 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn, ops

INF = math.inf
LOGITS = [-30.0, -18.0, -16.0, -15.0, -1.0, 0.0, 0.5, 15.0, 16.0, 18.0, 30.0]


def values_and_gradients(loss: Any, *values: Any) -> tuple[Any, list[Any], list[Any]]:
    """The loss's value, and its gradients by the fused kernels and by recorded operations."""
    found: list[list[Any]] = []
    y = None
    for recorded in (False, True):
        inputs = [Tensor(v.data, dtype=None, requires_grad=True) for v in values]
        y = loss(*inputs)
        gradients = babygrad.grad(y.sum(), inputs, create_graph=recorded)
        found.append([g.tolist() for g in gradients])
    return y.tolist(), *found


# ----- Binary cross-entropy -----


@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_bce_and_its_derivatives_keep_their_digits(
    target: float, weighted: bool, device: str, dtype: str
) -> None:
    x = np.array(LOGITS, dtype).astype("f8")
    p, q = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))  # sigmoid(x) and sigmoid(-x)
    weight, positive = (3.0, 5.0) if weighted else (1.0, 1.0)
    a, b = weight * (1 - target), weight * positive * target
    exact = a * np.log1p(np.exp(x)) + b * np.log1p(np.exp(-x))
    settings = {"weight": Tensor([3.0], dtype=dtype), "pos_weight": Tensor([5.0], dtype=dtype)}

    def loss(logits: Tensor) -> Tensor:
        targets = Tensor(np.full(len(LOGITS), target), dtype=dtype)
        kwargs = settings if weighted else {}
        return ops.bce_with_logits(logits, targets, reduction="none", **kwargs)

    logits = Tensor(LOGITS, dtype=dtype, requires_grad=True)
    tolerance = 16 * np.finfo(dtype).eps
    np.testing.assert_allclose(loss(logits).data, exact, rtol=tolerance)
    loss(logits).sum().backward()
    first = babygrad.grad(loss(logits).sum(), logits, create_graph=True)
    # Where the target is neither 0 nor 1 the two terms cancel near it, as they do in the formula.
    for gradient in (logits.grad, first.data):
        np.testing.assert_allclose(gradient, a * p - b * q, rtol=tolerance, atol=tolerance * a * b)
    second = babygrad.grad(first.sum(), logits)
    np.testing.assert_allclose(second.data, (a + b) * p * q, rtol=tolerance)


def test_bce_of_an_infinite_logit_is_zero_where_it_is_right(device: str, dtype: str) -> None:
    x = Tensor([INF, -INF, INF, -INF, INF], dtype=dtype)
    target = Tensor([1.0, 0.0, 0.0, 1.0, 0.5], dtype=dtype)

    def loss(logits: Tensor) -> Tensor:
        return ops.bce_with_logits(logits, target, reduction="none")

    value, fused, recorded = values_and_gradients(loss, x)
    assert value == [0.0, 0.0, INF, INF, INF]
    assert fused == recorded == [[0.0, 0.0, 1.0, -1.0, 0.5]]
    weight = Tensor([1.0, 1.0, 0.0, 0.0, 0.0], dtype=dtype)

    def weighted(logits: Tensor) -> Tensor:
        return ops.bce_with_logits(logits, target, weight, "none")

    value, fused, recorded = values_and_gradients(weighted, x)
    assert value == [0.0] * 5
    assert fused == recorded == [[0.0] * 5]


# ----- Kullback-Leibler divergence -----


def test_kl_div_is_zero_where_the_target_is(device: str, dtype: str) -> None:
    x, target = Tensor([-INF, -1.0, -INF, -2.0], dtype=dtype), Tensor([0, 0, 0.5, 1], dtype=dtype)
    value, fused, recorded = values_and_gradients(
        lambda a: ops.kl_div(a, target, reduction="none"), x
    )
    assert value == [0.0, 0.0, INF, 2.0]
    assert fused == recorded == [[0.0, 0.0, -0.5, -1.0]]
    both = values_and_gradients(lambda a, t: ops.kl_div(a, t, reduction="none"), x[:1], target[:1])
    assert both == ([0.0], [[0.0], [0.0]], [[0.0], [0.0]])


def test_kl_div_is_zero_where_the_logarithm_of_the_target_is_minus_infinity(
    device: str, dtype: str
) -> None:
    x = Tensor([-INF, -1.0, -INF, -2.0, -INF], dtype=dtype)
    target = Tensor([-INF, -INF, 0.0, 0.0, -2000.0], dtype=dtype)

    def loss(a: Tensor, t: Tensor) -> Tensor:
        return ops.kl_div(a, t, reduction="none", log_target=True)

    value, fused, recorded = values_and_gradients(lambda a: loss(a, target), x)
    assert value == [0.0, 0.0, INF, 2.0, 0.0]
    assert fused == recorded == [[0.0, 0.0, -1.0, -1.0, 0.0]]
    both = values_and_gradients(loss, x[:2], target[:2])
    assert both == ([0.0, 0.0], [[0.0, 0.0]] * 2, [[0.0, 0.0]] * 2)


# ----- Cross-entropy -----


def test_cross_entropy_of_probabilities_counts_no_class_of_probability_zero(
    device: str, dtype: str
) -> None:
    x = Tensor([[0.0, -INF, 0.0], [0.0, 0.0, -INF]], dtype=dtype)
    target = Tensor([[0.25, 0.0, 0.75], [0.5, 0.0, 0.5]], dtype=dtype)

    def loss(a: Tensor) -> Tensor:
        return ops.cross_entropy(a, target, reduction="none")

    value, fused, recorded = values_and_gradients(loss, x)
    np.testing.assert_allclose(value, [math.log(2), INF], rtol=4 * np.finfo(dtype).eps)
    for ((first, second),) in (fused, recorded):
        np.testing.assert_allclose(first, [0.25, 0.0, -0.25], atol=4 * np.finfo(dtype).eps)
        assert np.isfinite(second).all()
    weight = Tensor([1.0, 1.0, 0.0], dtype=dtype)
    weighted = ops.cross_entropy(x, target, weight, reduction="none")
    expected = [0.25 * math.log(2), 0.5 * math.log(2)]
    np.testing.assert_allclose(weighted.data, expected, rtol=4 * np.finfo(dtype).eps)
    # The target's own gradient is that of what is counted: minus the log-probability, or nothing.
    targets = Tensor(target.data, dtype=dtype, requires_grad=True)
    ops.cross_entropy(x[:1], targets[:1], reduction="sum").backward()
    np.testing.assert_allclose(targets.grad[0], [math.log(2), 0.0, math.log(2)], rtol=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_a_class_of_weight_zero_adds_nothing_to_an_infinite_loss(
    name: str, device: str, dtype: str
) -> None:
    x = Tensor([[0.0, -INF, 0.0], [-INF, -INF, 0.0]], dtype=dtype)
    weight = Tensor([2.0, 0.0, 1.0], dtype=dtype)
    function = getattr(ops, name)
    value, fused, recorded = values_and_gradients(
        lambda a: function(a, [1, 2], weight, reduction="none"), x
    )
    assert value == [0.0, 0.0]
    for (gradient,) in (fused, recorded):
        assert gradient[0] == [0.0, 0.0, 0.0]
        assert np.isfinite(gradient).all()
    assert function(x, [1, 2], weight).item() == 0.0
    assert function(x, [1, 2], reduction="none").tolist()[0] == INF
    counted = Tensor([2.0, 0.0, 1.0], dtype=dtype, requires_grad=True)
    function(x, [1, 2], counted, reduction="sum").backward()
    assert counted.grad.tolist() == [0.0, 0.0, 0.0]


def test_smoothing_makes_a_class_without_probability_infinite(device: str, dtype: str) -> None:
    x = Tensor([[0.0, -INF, 0.0]], dtype=dtype, requires_grad=True)
    for smoothing in (0.1, 1.0):
        for target in (0, 1):
            loss = ops.cross_entropy(x, [target], label_smoothing=smoothing)
            assert loss.item() == INF
            loss.backward()
            assert np.isfinite(x.grad).all()
    # A weight of 0 takes the class out again: what is left are two of three shares of log 2.
    weight = Tensor([1.0, 0.0, 1.0], dtype=dtype)
    loss = ops.cross_entropy(x, [0], weight, label_smoothing=0.3)
    expected = (0.7 + 2 * 0.1) * math.log(2)
    np.testing.assert_allclose(loss.item(), expected, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("filling", [math.nan, INF, -INF, 1e38])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_ignored_row_may_hold_anything(
    filling: float, smoothing: float, weighted: bool, device: str, dtype: str
) -> None:
    values = np.array([[1.0, 2.0, 0.5], [filling, 1.0, filling]])
    weight = Tensor([1.0, 2.0, 0.5], dtype=dtype) if weighted else None

    def smoothed(a: Tensor) -> Tensor:
        return ops.cross_entropy(a, [1, -100], weight, label_smoothing=smoothing)

    def plain(a: Tensor) -> Tensor:
        return ops.nll_loss(a, [1, -100], weight)

    for loss in (smoothed, plain):
        value, fused, recorded = values_and_gradients(loss, Tensor(values, dtype=dtype))
        assert math.isfinite(value)
        for (gradient,) in (fused, recorded):
            assert gradient[1] == [0.0, 0.0, 0.0]
            assert np.isfinite(gradient[0]).all()
        x = Tensor(values, dtype=dtype, requires_grad=True)
        first = babygrad.grad(loss(x), x, create_graph=True)
        second = babygrad.grad((first * first).sum(), x, allow_unused=True)
        assert second is None or second.tolist()[1] == [0.0, 0.0, 0.0]


def test_cross_entropy_of_large_logits_keeps_the_digits_of_their_differences(
    device: str, dtype: str
) -> None:
    x = Tensor([[10000.0, 10001.0], [-30000.0, -30000.5]], dtype=dtype)
    exact = [math.log1p(math.exp(-1)), math.log1p(math.exp(0.5))]
    losses = ops.cross_entropy(x, [1, 1], reduction="none")
    np.testing.assert_allclose(losses.data, exact, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "bool"])
def test_integers_of_the_shape_of_the_scores_are_no_probabilities(kind: str, device: str) -> None:
    x = Tensor(np.zeros((2, 3)))
    for target in (np.eye(2, 3).astype(kind), Tensor(np.eye(2, 3), dtype=kind)):
        for loss in (ops.cross_entropy, nn.CrossEntropyLoss(), nn.SoftmaxLoss()):
            with pytest.raises(TypeError, match=rf"cross_entropy: .* dtype {kind}; probabilities"):
                loss(x, target)
        with pytest.raises(TypeError, match="labels have the shape of x without its classes"):
            ops.cross_entropy(x[0], target[0])
    half = Tensor(np.eye(2, 3), dtype="float16")
    assert abs(ops.cross_entropy(x, half).item() - math.log(3)) < 1e-6


def test_huber_loss_of_a_large_distance_is_finite(device: str, dtype: str) -> None:
    large = 1e30 if dtype == "float32" else 1e300
    x = Tensor([large, -large, 0.5, 1.0], dtype=dtype)
    zero = Tensor([0.0, 0.0, 0.0, 0.0], dtype=dtype)
    value, fused, recorded = values_and_gradients(
        lambda a: ops.huber_loss(a, zero, reduction="none"), x
    )
    np.testing.assert_allclose(value, [large, large, 0.125, 0.5], rtol=1e-6)
    assert fused == recorded == [[1.0, -1.0, 0.5, 1.0]]
