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


def test_batch_norm_statistics(device: str) -> None:
    x = Tensor([[1.0], [2.0], [3.0], [4.0]])
    for unbiased, variance in ((False, 1.025), (True, 1.0666667)):
        layer = nn.BatchNorm1d(1, unbiased=unbiased)
        y = layer(x)
        expected = (np.arange(1, 5) - 2.5) / np.sqrt(1.25 + 1e-5)
        np.testing.assert_allclose(y.data[:, 0], expected, rtol=1e-6)
        np.testing.assert_allclose(layer.running_mean.data, [0.25], rtol=1e-6)
        np.testing.assert_allclose(layer.running_var.data, [variance], rtol=1e-6)


def test_evaluation_uses_and_never_updates_the_running_statistics(device: str) -> None:
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


@pytest.mark.parametrize("shape", [(64, 3), (16, 3, 5), (4, 3, 6, 7)])
@pytest.mark.parametrize("affine", [False, True])
def test_evaluation_keeps_the_digits_that_training_keeps(
    shape: tuple[int, ...], affine: bool, device: str, dtype: str
) -> None:
    x = (1000 + rng.normal(size=shape)).astype(dtype)
    others = tuple(i for i in range(len(shape)) if i != 1)
    along = (3, *(1,) * (len(shape) - 2))
    mean, var = x.mean(others, dtype="f8").astype(dtype), x.var(others, dtype="f8").astype(dtype)
    w, b = (rng.normal(size=3).astype(dtype) for _ in range(2))
    statistics = Tensor(mean, dtype=dtype), Tensor(var, dtype=dtype)
    vectors = (Tensor(w, dtype=dtype), Tensor(b, dtype=dtype)) if affine else ()
    exact = (x.astype("f8") - mean.reshape(along)) / np.sqrt(var.astype("f8") + 1e-5).reshape(along)
    if affine:
        exact = exact * w.reshape(along) + b.reshape(along)
    last = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)  # the channels last in memory
    for image in (x, last, x[::-1]):
        y = ops.batch_norm(babygrad.from_numpy(image), *statistics, *vectors)
        wanted = exact[::-1] if image is not x and image is not last else exact
        np.testing.assert_allclose(
            y.data, wanted, rtol=8 * np.finfo(dtype).eps, atol=16 * np.finfo(dtype).eps
        )
        assert y.dtype == np.dtype(dtype)


def test_evaluation_has_every_derivative(device: str) -> None:
    def settings(*seeds: int) -> list[Tensor]:
        drawn = [np.random.default_rng(seed).uniform(0.5, 2, 3) for seed in seeds]
        return [Tensor(v, dtype="float64", requires_grad=True) for v in drawn]

    def loss(*inputs: Tensor) -> Tensor:
        return ops.square(ops.batch_norm(*inputs)).sum()

    x = Tensor(rng.normal(size=(4, 3, 2)), dtype="float64", requires_grad=True)
    for count in (2, 3, 4):
        inputs = [x, *settings(*range(count))]
        babygrad.gradcheck(loss, inputs)
        babygrad.gradgradcheck(loss, inputs)


def exact_gradient(x: Any, gy: Any, axes: Any, eps: float, centred: bool) -> Any:
    """The gradient of a normalization without weights, in numpy's longdouble."""
    x, gy = x.astype(np.longdouble), gy.astype(np.longdouble)
    moved = x - x.mean(axes, keepdims=True) if centred else x
    rstd = 1 / np.sqrt((moved**2).mean(axes, keepdims=True) + eps)
    x_hat = moved * rstd
    g = gy - x_hat * (gy * x_hat).mean(axes, keepdims=True)
    return x_hat, (g - gy.mean(axes, keepdims=True) if centred else g) * rstd


NORMS: dict[str, Any] = {
    "layer_norm": (lambda x: ops.layer_norm(x), (2,), True),
    "rms_norm": (lambda x: ops.rms_norm(x, eps=1e-5), (2,), False),
    "group_norm": (lambda x: ops.group_norm(x, 1), (1, 2), True),
    "batch_norm": (lambda x: ops.batch_norm(x, training=True), (0, 2), True),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("size", [1e20, 1e30, 3e37, 1e-30])
def test_squares_that_overflow_do_not_show(name: str, size: float, device: str, dtype: str) -> None:
    if dtype == "float64":
        size = {1e20: 1e160, 1e30: 1e200, 3e37: 1e300, 1e-30: 1e-200}[size]
    function, axes, centred = NORMS[name]
    x = (size * rng.uniform(-3, 3, (3, 4, 10))).astype(dtype)
    gy = rng.normal(size=x.shape).astype(dtype)
    exact, exact_gx = exact_gradient(x, gy, axes, 1e-5, centred)
    tolerance = 100 * np.finfo(dtype).eps
    tensor, upstream = (Tensor(v, dtype=dtype, requires_grad=True) for v in (x, gy))
    y = function(tensor)
    np.testing.assert_allclose(y.data, exact.astype("f8"), rtol=tolerance, atol=tolerance)
    scale = np.abs(exact_gx).max()
    for recorded in (False, True):
        first = babygrad.grad(function(tensor), tensor, upstream, create_graph=recorded)
        if scale > 4 * np.finfo(dtype).tiny:
            got = (first.data / scale.astype(dtype)).astype("f8")
            np.testing.assert_allclose(got, (exact_gx / scale).astype("f8"), atol=tolerance)
    if size > 1e30 and dtype == "float32":
        return  # its second derivatives are below the smallest number
    # The first derivative is linear in the upstream gradient, and its adjoint there is itself.
    back = babygrad.grad(first, upstream, Tensor(gy, dtype=dtype))
    _, expected = exact_gradient(x, gy, axes, 1e-5, centred)
    got = (back.data / scale.astype(dtype)).astype("f8")
    np.testing.assert_allclose(got, (expected / scale).astype("f8"), atol=tolerance)


@pytest.mark.parametrize("name", NORMS)
def test_second_derivatives_of_large_inputs(name: str, device: str, dtype: str) -> None:
    size = 1e20 if dtype == "float32" else 1e160
    function, _, _ = NORMS[name]
    near = rng.uniform(-3, 3, (3, 4, 10))
    gy = rng.normal(size=near.shape)

    def second(values: Any, kind: str, factor: float) -> Any:
        x = Tensor(values, dtype=kind, requires_grad=True)
        first = babygrad.grad(function(x), x, Tensor(gy * factor, dtype=kind), create_graph=True)
        return babygrad.grad((first * first.detach()).sum(), x).data

    # A normalization is the same for all multiples of its input (eps aside), so that derivatives
    # of order n go with its inverse power n; the upstream gradient makes up for that.
    got = second(near * size, dtype, size)
    wanted = second(near, "float64", 1.0) / size
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(got / scale, wanted / scale, atol=2e-4)


def test_batch_norm_of_large_values_warns_of_nothing_and_keeps_its_mean(
    device: str, dtype: str
) -> None:
    size = 1e20 if dtype == "float32" else 1e200
    layer = nn.BatchNorm1d(2, dtype=dtype)
    y = layer(Tensor(size * np.array([[1.0, 2.0], [3.0, 4.0]]), dtype=dtype))
    np.testing.assert_allclose(y.data, [[-1, -1], [1, 1]], rtol=1e-6)
    np.testing.assert_allclose(layer.running_mean.data / size, [0.2, 0.3], rtol=1e-6)
    assert layer.running_var.data.tolist() == [np.inf, np.inf]  # which no number of the type is


def test_errata_batch_norm_buffers_do_not_require_grad(device: str) -> None:
    layer = nn.BatchNorm1d(3)
    assert [n for n, _ in layer.named_buffers()] == ["running_mean", "running_var"]
    assert not any(b.requires_grad for b in layer.buffers())
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]


def test_one_value_for_each_channel_raises(device: str) -> None:
    with pytest.raises(ValueError, match="has 1 values for each channel"):
        nn.BatchNorm1d(3)(Tensor(np.ones((1, 3))))


def test_layer_norm_takes_two_passes(device: str) -> None:
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


def test_dropout(device: str, dtype: str) -> None:
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


def test_dropout_draws_as_the_book_does_and_nothing_in_evaluation(device: str) -> None:
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
