"""The book's errata: what its printed solutions get wrong, and babygrad gets right."""

from __future__ import annotations

import gc
import itertools
import math
import pickle
import warnings
import weakref

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, data, nn, ops, optim

pytestmark = pytest.mark.usefixtures("twins")


@pytest.fixture(autouse=True)
def strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def leaf(values, dtype="float64"):
    return Tensor(values, dtype=dtype, requires_grad=True)


def numbers(*shape):
    return np.arange(1.0, 1 + math.prod(shape)).reshape(shape)


def test_erratum_01_factories_take_sizes_or_a_tuple(device):
    for make in (
        Tensor.ones,
        Tensor.zeros,
        Tensor.constant,
        Tensor.rand,
        Tensor.randn,
        Tensor.randb,
    ):
        assert make(2, 3).shape == make((2, 3)).shape == (2, 3)
    assert Tensor.constant(2, 3, c=7.0).tolist() == [[7.0] * 3] * 2


def test_erratum_02_transpose_of_two_axes_on_rank_4(device):
    x = leaf(numbers(2, 3, 4, 5))
    upstream = numbers(2, 4, 3, 5)
    x.transpose((1, 2)).backward(upstream)
    np.testing.assert_array_equal(x.grad, np.swapaxes(upstream, 1, 2))


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(28, 3, 2), (7, 2, 3), (5, 3, 2), (6, 3, 4)]
)
def test_erratum_03_strided_convolution_with_rows_left_over(device, size, kernel, stride):
    x, w = leaf(numbers(1, size, size, 1)), leaf(numbers(kernel, kernel, 1, 1))
    y = ops.conv(x, w, stride)
    out = (size - kernel) // stride + 1
    assert y.shape == (1, out, out, 1)
    y.backward()
    expected = np.zeros((size, size))
    for i, j in itertools.product(range(out), repeat=2):
        rows, columns = (
            slice(i * stride, i * stride + kernel),
            slice(j * stride, j * stride + kernel),
        )
        expected[rows, columns] += w.data[:, :, 0, 0]
    np.testing.assert_array_equal(x.grad[0, :, :, 0], expected)
    used = (out - 1) * stride + kernel
    assert not x.grad[0, used:].any()
    assert not x.grad[0, :, used:].any()


def test_erratum_04_the_weight_gradient_of_a_strided_padded_convolution(device):
    x, w = leaf(numbers(1, 5, 5, 1)), leaf(numbers(3, 3, 1, 1))
    y = ops.conv(x, w, stride=2, padding=1)
    upstream = numbers(*y.shape)
    y.backward(upstream)
    padded = np.pad(x.data[0, :, :, 0], 1)
    expected = np.zeros((3, 3))
    for i, j in itertools.product(range(y.shape[1]), range(y.shape[2])):
        expected += upstream[0, i, j, 0] * padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
    np.testing.assert_array_equal(w.grad[:, :, 0, 0], expected)


def test_erratum_05_dilate_is_differentiable_again_and_undilate_its_adjoint(device):
    x, g = leaf(numbers(2, 3)), leaf(numbers(3, 5))
    y = ops.dilate(x, (0, 1), 1)
    expected = np.zeros((3, 5))
    expected[::2, ::2] = x.data
    np.testing.assert_array_equal(y.data, expected)
    back = babygrad.grad(y, x, g, create_graph=True)
    assert isinstance(back, Tensor)
    np.testing.assert_array_equal(back.data, ops.undilate(g, (0, 1), 1).data)
    again = babygrad.grad(back, g, leaf(numbers(2, 3)))
    np.testing.assert_array_equal(again.data, expected)


def test_erratum_06_flip_is_a_function_like_every_other(device):
    x = leaf(numbers(2, 3))
    y = ops.flip(x, 1)
    assert callable(type(y._op).forward)
    assert callable(type(y._op).backward)
    upstream = numbers(2, 3)
    y.backward(upstream)
    np.testing.assert_array_equal(y.data, numbers(2, 3)[:, ::-1])
    np.testing.assert_array_equal(x.grad, upstream[:, ::-1])


@pytest.mark.parametrize("axes", [None, 0, 1, 2, (0, 2), (1, 2), (0, 1, 2), -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_erratum_07_logsumexp_over_any_axes(device, axes, keepdims):
    values = np.random.default_rng(0).normal(size=(2, 3, 4))
    x = leaf(values)
    y = ops.logsumexp(x, axes, keepdims)
    total = np.exp(values).sum(axes, keepdims=True)
    np.testing.assert_allclose(
        y.data, np.log(np.exp(values).sum(axes, keepdims=keepdims)), rtol=1e-13
    )
    y.backward()
    np.testing.assert_allclose(x.grad, np.exp(values) / total, rtol=1e-12)


def test_erratum_08_linear_is_scaled(device):
    babygrad.manual_seed(0)
    layer = nn.Linear(1000, 50)
    babygrad.manual_seed(None)
    assert layer.weight.shape == (1000, 50)
    assert layer.bias.shape == (1, 50)
    assert not layer.bias.data.any()
    assert np.abs(layer.weight.data).max() <= math.sqrt(6 / 1000)
    assert layer.weight.data.std() == pytest.approx(math.sqrt(2 / 1000), rel=0.02)


def test_erratum_09_dropouts_mask_is_no_part_of_the_graph(device):
    x = leaf(np.ones(10))
    y = ops.dropout(x, 0.5)
    assert sum(t.requires_grad for t in y._inputs) == 1
    z = ops.dropout(x, 1.0)
    np.testing.assert_array_equal(z.data, np.zeros(10))
    z.backward()
    np.testing.assert_array_equal(x.grad, np.zeros(10))


def test_erratum_10_reversed_operators(device):
    values, array = np.array([1.0, 2.0]), np.array([[1.0, 2.0], [3.0, 4.0]])
    for f, value, slope in (
        (lambda t: 5 - t, 5 - values, [-1, -1]),
        (lambda t: 2 / t, 2 / values, -2 / values**2),
        (lambda t: 2**t, 2**values, 2**values * math.log(2)),
        (lambda t: array @ t, array @ values, array.sum(0)),
    ):
        t = leaf(values)
        y = f(t)
        y.backward()
        np.testing.assert_allclose(y.data, value, rtol=1e-15)
        np.testing.assert_allclose(t.grad, slope, rtol=1e-14)


def test_erratum_11_power_computes_no_logarithm_that_nobody_asked_for(device):
    a = leaf([-2.0, 0.0, 3.0])
    (a ** Tensor([2.0, 2.0, 2.0], dtype="float64")).backward()
    np.testing.assert_array_equal(a.grad, [-4, 0, 6])


def test_erratum_12_activations_far_out(device, dtype):
    assert ops.relu(Tensor([-math.inf], dtype=dtype)).item() == 0
    assert ops.sigmoid(Tensor([-1000.0], dtype=dtype)).item() == 0


def test_erratum_13_backward_is_iterative_and_leaves_no_cycle(device):
    x = leaf([1.0])
    y = x
    for _ in range(5000):
        y = y + 1
    gc.collect()
    gc.disable()
    try:
        ref = weakref.ref(y)
        y.backward()
        del y
        assert ref() is None
    finally:
        gc.enable()
    assert x.grad.tolist() == [1]


def test_erratum_14_the_bias_gradient_has_the_biass_shape(device):
    x, bias = leaf(numbers(4, 3)), leaf(numbers(3))
    (x + bias).backward()
    np.testing.assert_array_equal(bias.grad, [4, 4, 4])
    row = leaf(numbers(1, 3))
    (x + row).backward()
    np.testing.assert_array_equal(row.grad, [[4, 4, 4]])


def test_erratum_15_state_is_copied_and_files_are_safetensors(device, tmp_path):
    model = nn.Linear(2, 2)
    state = model.state_dict()
    assert not any(np.shares_memory(v, model.weight.data) for v in state.values())
    path = tmp_path / "model.safetensors"
    model.save(path)
    twin = nn.Linear(2, 2)
    twin.load(path)
    np.testing.assert_array_equal(twin.weight.data, model.weight.data)
    path.write_bytes(pickle.dumps(state))
    with pytest.raises(ValueError, match="pickle"):
        twin.load(path)


def test_erratum_16_the_loader_keeps_labels_and_positions(device):
    dataset = data.ArrayDataset(numbers(5, 2).astype("float32"), np.arange(5))
    loader = data.DataLoader(dataset, batch_size=2)
    assert len(loader) == 3
    a, b = iter(loader), iter(loader)
    next(a)
    assert next(b)[1].tolist() == [0, 1]
    assert next(a)[1].dtype == np.int64


def test_erratum_17_the_trainer(device):
    from babygrad.trainer import Trainer

    dataset = data.ArrayDataset(numbers(5, 2).astype("float32") / 10, np.array([0, 1, 0, 1, 0]))
    loader = data.DataLoader(dataset, batch_size=2)
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
    trainer = Trainer(
        model, optim.SGD(model.parameters(), lr=0.1), nn.SoftmaxLoss(), loader, loader
    )
    history = trainer.fit(2, quiet=True)
    assert model.training
    assert all(m.training for m in model)
    assert {"loss", "accuracy", "val_accuracy"} == set(history)
    assert all(type(v) is float for values in history.values() for v in values)


def test_erratum_18_batch_norms_buffers_do_not_require_grad(device):
    layer = nn.BatchNorm1d(3)
    assert [name for name, _ in layer.named_buffers()] == ["running_mean", "running_var"]
    assert not any(b.requires_grad for b in layer.buffers())
    assert len(layer.parameters()) == 2
    layer(Tensor(numbers(4, 3))).sum().backward()
    assert not any(b.requires_grad for b in layer.buffers())
