"""Batch normalization with `momentum=None`: the running statistics average all batches alike."""

import copy

import numpy as np
import pytest

from babygrad import Tensor, nn, ops

LAYERS = {"1d": (nn.BatchNorm1d, (4, 3)), "1d of sequences": (nn.BatchNorm1d, (4, 3, 5)),
          "2d": (nn.BatchNorm2d, (4, 3, 2, 5))}  # fmt: skip


def batches(shape, count):
    rng = np.random.default_rng(7)
    return [rng.normal(i, 1 + i, shape) for i in range(count)]


@pytest.fixture(params=LAYERS)
def layer_and_shape(request):
    cls, shape = LAYERS[request.param]
    return cls(3, momentum=None), shape


def test_the_running_statistics_are_the_means_over_all_batches(device, dtype, layer_and_shape):
    layer, shape = layer_and_shape
    layer = type(layer)(3, momentum=None, dtype=dtype)
    axes = tuple(i for i in range(len(shape)) if i != 1)
    seen = batches(shape, 7)
    for count, x in enumerate(seen, 1):
        layer(Tensor(x, dtype=dtype))
        assert layer.num_batches_tracked.item() == count
        means = np.mean([b.mean(axes) for b in seen[:count]], axis=0)
        variances = np.mean([b.var(axes) for b in seen[:count]], axis=0)
        # A few roundings for each of the batches so far.
        tolerance = 20 * np.finfo(dtype).eps
        scale = {"rtol": tolerance, "atol": tolerance * 7}
        np.testing.assert_allclose(layer.running_mean.data, means, **scale)
        np.testing.assert_allclose(layer.running_var.data, variances, **scale)


def test_the_unbiased_variance_is_averaged_on_request(device):
    layer = nn.BatchNorm1d(1, momentum=None, unbiased=True)
    for batch in ([1.0, 3.0], [0.0, 6.0]):  # of variance 2 and 18
        layer(Tensor(batch).reshape(2, 1))
    assert layer.running_var.tolist() == [10.0]


def test_evaluation_and_a_batch_that_is_refused_are_not_counted(device, layer_and_shape):
    layer, shape = layer_and_shape
    x = batches(shape, 1)[0]
    layer(Tensor(x))
    layer.eval()
    layer(Tensor(x))
    layer.train()
    before = layer.state_dict()
    with pytest.raises(ValueError, match="has 1 values for each channel"):
        layer(Tensor(np.ones((1, 3, *(1 for _ in shape[2:])))))
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert before["num_batches_tracked"] == 1


def test_the_count_is_saved_with_the_state_and_goes_on(device, layer_and_shape, tmp_path):
    layer, shape = layer_and_shape
    first, second = batches(shape, 2)
    layer(Tensor(first))
    layer.save(tmp_path / "norm.safetensors")
    loaded = type(layer)(3, momentum=None)
    loaded.load(tmp_path / "norm.safetensors")
    copied = copy.deepcopy(layer)
    for each in (layer, loaded, copied):
        each(Tensor(second))
        assert each.num_batches_tracked.item() == 2
        assert each.num_batches_tracked.dtype == np.int64
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name], value)
        np.testing.assert_array_equal(copied.state_dict()[name], value)
    assert [name for name, _ in layer.named_buffers()] == [
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]


def test_a_state_without_the_count_is_refused_and_its_count_ignored_where_none_is_kept(device):
    averaging, moving = nn.BatchNorm1d(2, momentum=None), nn.BatchNorm1d(2)
    moving.load_state_dict(averaging.state_dict())
    with pytest.raises(ValueError, match="missing: num_batches_tracked"):
        averaging.load_state_dict(moving.state_dict())


def test_a_momentum_that_is_taken_away_begins_an_average(device):
    layer = nn.BatchNorm1d(1)
    layer(Tensor([[10.0], [20.0]]))
    layer.momentum = None
    for batch in ([1.0, 3.0], [0.0, 6.0]):
        layer(Tensor(batch).reshape(2, 1))
    assert layer.running_mean.tolist() == [2.5]
    assert layer.state_dict()["num_batches_tracked"] == 2


def test_a_model_in_evaluation_uses_the_averages(device):
    layer = nn.BatchNorm1d(1, momentum=None, eps=0.0)
    for batch in ([1.0, 3.0], [0.0, 6.0]):  # means 2 and 3, variances 1 and 9
        layer(Tensor(batch).reshape(2, 1))
    y = layer.eval()(Tensor([[2.5], [7.5]]))
    np.testing.assert_allclose(y.data[:, 0], [0.0, 5 / np.sqrt(5.0)], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("momentum", ["0.1", -0.1, 1.5, np.nan, [0.1]])
def test_a_momentum_that_is_none_of_these_is_refused(momentum):
    error, rule = (ValueError, "lie in") if isinstance(momentum, float) else (TypeError, "be a num")
    for cls in (nn.BatchNorm1d, nn.BatchNorm2d):
        with pytest.raises(error, match=rf"{cls.__name__}: momentum \(=.* must {rule}"):
            cls(3, momentum=momentum)


def test_numpys_numbers_are_momenta():
    for momentum in (np.float32(0.5), np.float64(0.5), 0, 1):
        assert nn.BatchNorm1d(3, momentum=momentum).momentum == momentum


def test_the_function_has_no_count_and_says_so():
    with pytest.raises(ValueError, match=r"batch_norm: momentum \(=None\) must be a number"):
        ops.batch_norm(
            Tensor(np.ones((2, 3))), Tensor.zeros(3), Tensor.ones(3), training=True, momentum=None
        )
