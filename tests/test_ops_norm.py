"""Normalization and dropout: statistics in two passes, running averages, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn, ops

rng = np.random.default_rng(7)


def normalized(x: Any, axes: Any, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(var + eps) in float64."""
    x = x.astype("float64")
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps)


def test_values_follow_the_formula(device: str, dtype: str) -> None:
    x = rng.normal(3, 2, (3, 4, 2, 5)).astype(dtype)
    w, b = rng.normal(size=4), rng.normal(size=4)
    tolerance = 400 * np.finfo(dtype).eps  # 40 terms, and a few roundings at size 5
    along = (4, 1, 1)
    tensor = Tensor(x, dtype=dtype)
    weight, bias = Tensor(w, dtype=dtype), Tensor(b, dtype=dtype)
    cases = [
        (ops.layer_norm(tensor), normalized(x, -1)),
        (ops.layer_norm(tensor, (2, 5)), normalized(x, (2, 3))),
        (
            ops.batch_norm(tensor, weight=weight, bias=bias, training=True),
            normalized(x, (0, 2, 3)) * w.reshape(along) + b.reshape(along),
        ),
        (
            ops.group_norm(tensor, 2, weight, bias),
            normalized(x.reshape(3, 2, -1), -1).reshape(x.shape) * w.reshape(along)
            + b.reshape(along),
        ),
        (
            ops.rms_norm(tensor),
            x / np.sqrt((x.astype("float64") ** 2).mean(-1, keepdims=True) + 1e-6),
        ),
    ]
    for actual, expected in cases:
        assert actual.dtype == np.dtype(dtype)
        np.testing.assert_allclose(actual.data, expected, rtol=tolerance, atol=tolerance)


def test_t13_batch_norm_statistics(device: str) -> None:
    x = Tensor([[1.0], [2.0], [3.0], [4.0]])
    for unbiased, variance in ((False, 1.025), (True, 1.0666667)):
        layer = nn.BatchNorm1d(1, unbiased=unbiased)
        y = layer(x)
        expected = (np.arange(1, 5) - 2.5) / np.sqrt(1.25 + 1e-5)
        np.testing.assert_allclose(y.data[:, 0], expected, rtol=1e-6)
        np.testing.assert_allclose(layer.running_mean.data, [0.25], rtol=1e-6)
        np.testing.assert_allclose(layer.running_var.data, [variance], rtol=1e-6)


def test_t13_evaluation_uses_and_never_updates_the_running_statistics(device: str) -> None:
    layer = nn.BatchNorm2d(2)
    layer(Tensor(rng.normal(size=(3, 2, 4, 4))))
    layer.eval()
    before = layer.state_dict()
    x = rng.normal(size=(1, 2, 1, 1))
    y = layer(Tensor(x))
    mean, var = (before[k].reshape(1, 2, 1, 1) for k in ("running_mean", "running_var"))
    np.testing.assert_allclose(y.data, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-5, atol=1e-6)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_errata_batch_norm_buffers_do_not_require_grad(device: str) -> None:
    layer = nn.BatchNorm1d(3)
    assert [n for n, _ in layer.named_buffers()] == ["running_mean", "running_var"]
    assert not any(b.requires_grad for b in layer.buffers())
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]


def test_t13_one_value_for_each_channel_raises(device: str) -> None:
    with pytest.raises(ValueError, match="has 1 values for each channel"):
        nn.BatchNorm1d(3)(Tensor(np.ones((1, 3))))


def test_t13_layer_norm_takes_two_passes(device: str) -> None:
    x = Tensor([[10000.0, 10001.0, 10002.0, 10003.0]])
    expected = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25 + 1e-5)
    np.testing.assert_allclose(ops.layer_norm(x).data[0], expected, rtol=1e-5)


def test_errors(device: str) -> None:
    x = Tensor(np.ones((2, 6)))
    with pytest.raises(ValueError, match=r"must end in normalized_shape \(5,\)"):
        ops.layer_norm(x, 5)
    with pytest.raises(ValueError, match=r"weight has shape \(5,\)"):
        ops.layer_norm(x, 6, np.ones(5))
    with pytest.raises(ValueError, match=r"num_groups \(=4\)"):
        ops.group_norm(x, 4)
    with pytest.raises(ValueError, match="training=False needs running_mean"):
        ops.batch_norm(x)
    with pytest.raises(ValueError, match="BatchNorm2d: x has shape"):
        nn.BatchNorm2d(6)(x)


def test_t15_dropout(device: str, dtype: str) -> None:
    x = Tensor(np.ones((50, 40)), dtype=dtype, requires_grad=True)
    assert ops.dropout(x, 0.0) is x
    assert ops.dropout(x, 0.5, training=False) is x
    infinite = Tensor([np.inf, -np.inf, np.nan, 2.0], dtype=dtype, requires_grad=True)
    nothing = ops.dropout(infinite, 1.0)
    assert (nothing.tolist(), nothing.dtype) == ([0, 0, 0, 0], np.dtype(dtype))
    nothing.sum().backward()
    assert infinite.grad.tolist() == [0, 0, 0, 0]
    babygrad.manual_seed(1)
    try:
        y = ops.dropout(x, 0.25)
    finally:
        babygrad.manual_seed(None)
    np.testing.assert_allclose(np.unique(y.data), [0, 1 / 0.75], rtol=np.finfo(dtype).eps)
    kept = (y.data != 0).mean()
    assert abs(kept - 0.75) < 5 * np.sqrt(0.75 * 0.25 / y.size)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)  # the mask is a constant
    with pytest.raises(ValueError, match=r"p \(=1.5\)"):
        ops.dropout(x, 1.5)


def test_t26_dropout_draws_as_the_book_does_and_nothing_in_evaluation(device: str) -> None:
    x = Tensor(np.ones((4, 5)))
    np.random.seed(3)
    expected = np.random.rand(4, 5) <= 0.7
    following = np.random.rand()
    np.random.seed(3)
    layer = nn.Dropout(0.3)
    assert ((layer(x).data != 0) == expected).all()
    layer.eval()
    layer(x)
    assert np.random.rand() == following
