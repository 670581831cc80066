"""Losses: extreme logits, every reduction, ignored labels, shapes that must not broadcast."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn, ops

rng = np.random.default_rng(8)
ELEMENTWISE = ["mse_loss", "l1_loss", "huber_loss", "bce_with_logits", "kl_div"]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_different_shapes_raise(name: str, device: str) -> None:
    for a, b in (((100, 1), (100,)), ((1,), ()), ((2, 3), (1, 3))):
        with pytest.raises(ValueError, match=f"{name}: the prediction has shape"):
            getattr(ops, name)(np.zeros(a), np.zeros(b))


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", *ELEMENTWISE])
def test_a_prediction_of_none_is_named(name: str, device: str) -> None:
    for wrong in (None, "text", {}):
        kind = type(wrong).__name__
        with pytest.raises(TypeError, match=f"^{name}: an operand is a {kind}, not a tensor or"):
            getattr(ops, name)(wrong, [0, 1])


def test_values_by_hand(device: str, dtype: str) -> None:
    x, t = [0.5, -2.0, 0.0], [1.0, 1.0, 0.0]
    tensors = Tensor(x, dtype=dtype), Tensor(t, dtype=dtype)
    expected = {
        "mse_loss": [0.25, 9.0, 0.0],
        "l1_loss": [0.5, 3.0, 0.0],
        "huber_loss": [0.125, 2.5, 0.0],
        "bce_with_logits": [math.log1p(math.exp(-0.5)), math.log1p(math.exp(2)), math.log(2)],
        "kl_div": [-0.5, 2.0, 0.0],
    }
    tolerance = 8 * np.finfo(dtype).eps
    for name, losses in expected.items():
        function: Any = getattr(ops, name)
        for reduction, value in (("none", losses), ("sum", sum(losses)), ("mean", sum(losses) / 3)):
            actual = function(*tensors, reduction=reduction)
            np.testing.assert_allclose(actual.data, value, rtol=tolerance, atol=tolerance)
            assert actual.dtype == np.dtype(dtype)
        with pytest.raises(ValueError, match=f"{name}: reduction"):
            function(*tensors, reduction="average")
    total = ops.kl_div(*tensors, reduction="batchmean")
    assert abs(total.item() - 0.5) < tolerance


def naive_cross_entropy(x: Any, target: Any, weight: Any, smoothing: float) -> Any:
    """Each row's loss and what it counts."""
    losses, counts = [], []
    for row, label in zip(x, target, strict=True):
        logs = row - np.log(np.exp(row).sum())
        if label == -100:
            losses.append(0.0)
            counts.append(0.0)
            continue
        spread = -(weight * logs).mean()
        losses.append(-(1 - smoothing) * weight[label] * logs[label] + smoothing * spread)
        counts.append(weight[label])
    return np.array(losses), np.array(counts)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_labels(smoothing: float, weighted: bool, device: str, dtype: str) -> None:
    x = rng.normal(size=(5, 3)).astype(dtype)
    target = np.array([0, 2, -100, 1, 2])
    weight = np.array([0.5, 2.0, 1.0]) if weighted else np.ones(3)
    losses, counts = naive_cross_entropy(x.astype("f8"), target, weight, smoothing)
    given = Tensor(weight, dtype=dtype) if weighted else None
    expected = {"none": losses, "sum": losses.sum(), "mean": losses.sum() / counts.sum()}
    for reduction, value in expected.items():
        actual = ops.cross_entropy(
            Tensor(x, dtype=dtype), target, given, label_smoothing=smoothing, reduction=reduction
        )
        np.testing.assert_allclose(actual.data, value, rtol=50 * np.finfo(dtype).eps)
    if not smoothing:
        logs = ops.logsoftmax(Tensor(x, dtype=dtype))
        np.testing.assert_allclose(
            ops.nll_loss(logs, target, given).data, expected["mean"], rtol=50 * np.finfo(dtype).eps
        )


def test_cross_entropy_of_probabilities_equals_that_of_labels(device: str, dtype: str) -> None:
    x = Tensor(rng.normal(size=(4, 3)), dtype=dtype)
    labels = np.array([2, 0, 1, 1])
    one_hot = Tensor(np.eye(3)[labels], dtype=dtype)
    for smoothing in (0.0, 0.3):
        a = ops.cross_entropy(x, labels, label_smoothing=smoothing)
        b = ops.cross_entropy(x, one_hot, label_smoothing=smoothing)
        assert abs(a.item() - b.item()) < 50 * np.finfo(dtype).eps


def test_any_class_axis(device: str) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    for axis in (1, 2, 3, -1):
        labels = rng.integers(0, x.shape[axis], np.delete(x.shape, axis))
        rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
        expected = ops.cross_entropy(rows, labels.reshape(-1), reduction="none").data
        actual = ops.cross_entropy(x, labels, axis=axis, reduction="none").data
        np.testing.assert_allclose(actual, expected.reshape(labels.shape), rtol=1e-12)


def test_large_logits(device: str, dtype: str) -> None:
    x = Tensor([[1e4, 0.0]], dtype=dtype, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = ops.cross_entropy(x, [1])
        loss.backward()
        assert loss.item() == 10000.0
        assert x.grad.tolist() == [[1.0, -1.0]]
        logits = Tensor([1000.0, -1000.0, 1000.0, -1000.0], dtype=dtype)
        losses = ops.bce_with_logits(logits, [0.0, 1.0, 1.0, 0.0], reduction="none")
    assert losses.tolist() == [1000.0, 1000.0, 0.0, 0.0]


def test_all_labels_ignored_gives_nan(device: str) -> None:
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(ops.cross_entropy(x, [-100]).item())
    ops.cross_entropy(x, [7], ignore_index=7, reduction="sum").backward()
    assert x.grad.tolist() == [[0.0, 0.0]]


def test_labels_out_of_range_raise_with_value_and_position(device: str) -> None:
    x = Tensor(np.zeros((2, 3)))
    for labels in ([0, 3], [0, -1]):
        with pytest.raises(IndexError, match=r"cross_entropy: label -?\d at position \(1,\)"):
            ops.cross_entropy(x, labels)
    with pytest.raises(ValueError, match=r"label 0.5 at position \(0,\) is not a whole number"):
        ops.cross_entropy(x, [0.5, 1.0])
    with pytest.raises(ValueError, match="labels must have the shape of x without its classes"):
        ops.cross_entropy(x, [0, 1, 2])
    with pytest.raises(ValueError, match=r"weight has shape \(2,\)"):
        ops.cross_entropy(x, [0, 1], np.ones(2))


def test_the_books_labels_are_float32_tensors(device: str) -> None:
    x = Tensor(rng.normal(size=(3, 4)))
    by_floats = nn.SoftmaxLoss()(x, Tensor([1.0, 0.0, 3.0]))
    assert by_floats.item() == nn.SoftmaxLoss()(x, np.array([1, 0, 3])).item()
    assert nn.MSELoss()(x, x).item() == 0.0


def test_loss_modules_pass_their_settings_on(device: str) -> None:
    x, t = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), 3)
    labels = [0, 1, 2]
    pairs: list[Any] = [
        (nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum")(x, labels),
         ops.cross_entropy(x, labels, label_smoothing=0.1, reduction="sum")),
        (nn.NLLLoss(ignore_index=1)(x, labels), ops.nll_loss(x, labels, ignore_index=1)),
        (nn.HuberLoss("sum", 0.1)(x, t), ops.huber_loss(x, t, "sum", 0.1)),
        (nn.L1Loss("sum")(x, t), ops.l1_loss(x, t, "sum")),
        (nn.KLDivLoss("batchmean")(x, t), ops.kl_div(x, t, "batchmean")),
        (nn.BCEWithLogitsLoss(reduction="sum")(x, t), ops.bce_with_logits(x, t, None, "sum")),
    ]  # fmt: skip
    for module, op in pairs:
        assert module.item() == op.item()
