"""T13 to T15 and T18 of docs/semantics.md: layers, optimizers, losses, masks."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn, no_grad, ops

pytestmark = pytest.mark.usefixtures("twins")

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def strict():
    """A floating-point warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def leaf(values, dtype="float32"):
    return Tensor(values, dtype=dtype, requires_grad=True)


def close(got, expected, dtype, scale=1.0):
    tolerance = scale * (2e-6 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


# ----- T13: normalization -----


@pytest.mark.parametrize(("unbiased", "running"), [(False, 1.025), (True, 0.9 + 0.1 * 5 / 3)])
def test_batch_norm_statistics(device, dtype, unbiased, running):
    layer = nn.BatchNorm1d(1, momentum=0.1, eps=1e-5, dtype=dtype, unbiased=unbiased)
    y = layer(Tensor([[1.0], [2.0], [3.0], [4.0]], dtype=dtype))
    close(y.data[:, 0], (np.arange(1, 5) - 2.5) / math.sqrt(1.25 + 1e-5), dtype)
    close(layer.running_mean.data, [0.25], dtype)
    close(layer.running_var.data, [running], dtype)


def test_eval_uses_and_keeps_the_running_statistics(device, dtype):
    layer = nn.BatchNorm1d(2, dtype=dtype)
    layer(Tensor(np.random.default_rng(0).normal(3, 2, (8, 2)), dtype=dtype))
    mean, var = layer.running_mean.numpy(), layer.running_var.numpy()
    layer.eval()
    x = np.array([[5.0, -1.0]])
    close(layer(Tensor(x, dtype=dtype)).data, (x - mean) / np.sqrt(var + 1e-5), dtype, 4)
    np.testing.assert_array_equal(layer.running_mean.data, mean)
    np.testing.assert_array_equal(layer.running_var.data, var)
    assert not layer.running_mean.requires_grad
    assert not layer.running_var.requires_grad


@pytest.mark.parametrize(
    ("layer", "shape"), [("BatchNorm1d", (1, 3)), ("BatchNorm2d", (1, 3, 1, 1))]
)
def test_one_value_per_channel_raises(device, layer, shape):
    with pytest.raises(ValueError, match="at least 2"):
        getattr(nn, layer)(3)(Tensor(np.ones(shape)))


def test_variance_takes_two_passes(device):
    row = [10000.0, 10001.0, 10002.0, 10003.0]
    expected = (np.arange(4) - 1.5) / math.sqrt(1.25 + 1e-5)
    np.testing.assert_allclose(ops.layer_norm(Tensor([row])).data[0], expected, rtol=1e-5)
    column = Tensor(np.array(row)[:, None])
    np.testing.assert_allclose(nn.BatchNorm1d(1)(column).data[:, 0], expected, rtol=1e-5)
    assert ops.var(Tensor(row), correction=0).item() == pytest.approx(1.25, rel=1e-5)
    groups = ops.group_norm(Tensor(np.array(row).reshape(1, 4)), 1)
    np.testing.assert_allclose(groups.data[0], expected, rtol=1e-5)


# ----- T14: optimizers (more, with 100 steps of each, in test_optim.py) -----


@pytest.mark.parametrize("g", [1e-3, 1.0, 1e4])
def test_the_first_step_of_adam(device, dtype, g):
    w = leaf([1.0, 1.0], dtype)
    w.grad = np.array([g, -g], dtype)
    babygrad.optim.Adam([w], lr=1e-3).step()
    moved = w.data.astype("float64") - 1
    np.testing.assert_allclose(moved, [-1e-3, 1e-3], rtol=2e-4)


def test_clipping_returns_the_norm_before(device, dtype):
    w = leaf([0.0, 0.0], dtype)
    w.grad = np.array([3.0, 4.0], dtype)
    assert babygrad.optim.clip_grad_norm([w], 1.0) == pytest.approx(5)
    np.testing.assert_allclose(w.grad, [0.6, 0.8], rtol=1e-6)
    w.grad = np.zeros(2, dtype)
    assert babygrad.optim.clip_grad_norm([w], 1.0) == 0
    assert not w.grad.any()
    w.grad = np.array([INF, 1.0], dtype)
    assert babygrad.optim.clip_grad_norm([w], 1.0) == INF
    with pytest.raises(RuntimeError, match="inf"):
        babygrad.optim.clip_grad_norm([w], 1.0, error_if_nonfinite=True)


def test_a_parameter_listed_twice_raises(device):
    w = leaf([1.0])
    with pytest.raises(ValueError, match="twice"):
        babygrad.optim.SGD([w, w], lr=0.1)


# ----- T15: losses -----


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "bce_with_logits", "kl_div"])
@pytest.mark.parametrize(("s", "t"), [((100, 1), (100,)), ((1,), ()), ((2, 3), (3, 2))])
def test_losses_do_not_broadcast(device, name, s, t):
    with pytest.raises(ValueError, match=f"{name}.*must be equal") as caught:
        getattr(ops, name)(Tensor(np.zeros(s)), Tensor(np.zeros(t)))
    assert str(s) in str(caught.value)
    assert str(t) in str(caught.value)


def test_cross_entropy_far_out(device, dtype):
    x = leaf([[1e4, 0.0]], dtype)
    loss = ops.cross_entropy(x, [1])
    assert loss.item() == 10000
    loss.backward()
    np.testing.assert_array_equal(x.grad, [[1, -1]])
    np.testing.assert_array_equal(ops.softmax(Tensor([1000, 1000], dtype=dtype)).data, [0.5, 0.5])


@pytest.mark.parametrize("label", [3, -1, 100, 1.5, NAN])
def test_labels_are_checked(device, label):
    labels = np.array([0, label, 2])
    with pytest.raises((ValueError, IndexError), match=r"at position \(1,\)") as caught:
        ops.cross_entropy(Tensor(np.zeros((3, 3))), labels)
    assert str(label) in str(caught.value)


def test_any_class_axis_and_whole_floats(device, dtype):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(4, 3, 5)), rng.integers(0, 3, (4, 5))
    shifted = x - x.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    expected = -np.take_along_axis(logs, labels[:, None], 1).mean()
    close(ops.cross_entropy(Tensor(x, dtype=dtype), labels).item(), expected, dtype, 2)
    close(ops.cross_entropy(Tensor(x, dtype=dtype), Tensor(labels)).item(), expected, dtype, 2)
    last = Tensor(np.moveaxis(x, 1, -1), dtype=dtype)
    close(ops.cross_entropy(last, labels, axis=-1).item(), expected, dtype, 2)


def test_ignored_labels_do_not_count(device, dtype):
    x = leaf(np.random.default_rng(0).normal(size=(4, 3)), dtype)
    some = ops.cross_entropy(x, [0, -100, 2, -100])
    close(some.item(), ops.cross_entropy(x[::2], [0, 2]).item(), dtype, 2)
    some.backward()
    assert not x.grad[[1, 3]].any()
    assert x.grad[[0, 2]].all()
    assert math.isnan(ops.cross_entropy(x, [7] * 4, ignore_index=7).item())


def test_bce_with_logits_is_stable(device, dtype):
    x = leaf([1000.0, -1000.0, 1000.0, -1000.0], dtype)
    y = ops.bce_with_logits(x, Tensor([0.0, 1.0, 1.0, 0.0], dtype=dtype), reduction="none")
    np.testing.assert_array_equal(y.data, [1000, 1000, 0, 0])
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, -1, 0, 0])


def test_logsumexp_of_infinities(device, dtype):
    x = leaf([[-INF, -INF], [INF, 0.0], [-INF, 3.0]], dtype)
    y = ops.logsumexp(x, axis=1)
    np.testing.assert_array_equal(y.data, [-INF, INF, 3])
    y.backward(np.array([1, 0, 1], dtype))
    np.testing.assert_array_equal(x.grad[[0, 2]], [[0, 0], [0, 1]])


def test_stable_activations(device, dtype):
    x = Tensor([1000.0, -1000.0], dtype=dtype)
    np.testing.assert_array_equal(ops.sigmoid(x).data, [1, 0])
    np.testing.assert_array_equal(ops.softplus(x).data, [1000, 0])
    small = Tensor([1e-20, -1e-20], dtype=dtype)
    close(ops.log1p(small).data / small.data, [1, 1], dtype)
    close(ops.expm1(small).data / small.data, [1, 1], dtype)
    for f in (ops.sigmoid, ops.softplus, ops.silu, ops.gelu, ops.elu, ops.tanh):
        t = leaf([-1e4, -100.0, 0.0, 100.0, 1e4], dtype)
        f(t).backward()
        assert np.isfinite(t.grad).all()


def test_dropout(device, dtype):
    x = leaf(np.ones((50, 40)), dtype)
    assert ops.dropout(x, 0.0) is x
    assert not ops.dropout(x, 1.0).data.any()
    babygrad.manual_seed(5)
    y = ops.dropout(x, 0.25)
    kept = y.data != 0
    assert set(np.unique(y.data)) == {0, np.asarray(1 / 0.75, dtype)[()]}
    # 2000 draws: five standard deviations of the share.
    assert abs(kept.mean() - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 2000)
    y.backward()
    np.testing.assert_array_equal(x.grad, y.data)
    # the book's draw, for one seed the same on every device
    uniform = np.random.default_rng(5).random((50, 40))
    np.testing.assert_array_equal(kept, uniform <= 0.75)
    babygrad.manual_seed(None)


def test_dropout_in_eval_draws_nothing(device):
    layer = nn.Dropout(0.5).eval()
    babygrad.manual_seed(3)
    before = babygrad.random.get_state()
    x = Tensor([1.0, 2.0])
    assert layer(x).tolist() == [1, 2]
    assert babygrad.random.get_state() == before
    babygrad.manual_seed(None)


def test_initial_weights(device):
    """Kaiming uniform with gain sqrt(2): variance 2 / fan_in; the same values for a seed."""
    babygrad.manual_seed(1)
    weight = nn.Linear(400, 300).weight.data
    bound = math.sqrt(6 / 400)
    assert np.abs(weight).max() <= bound
    assert weight.var() == pytest.approx(2 / 400, rel=0.02)
    babygrad.manual_seed(1)
    with babygrad.device("cpu:numpy"):
        np.testing.assert_array_equal(nn.Linear(400, 300).weight.data, weight)
    babygrad.manual_seed(None)


# ----- T18: masks -----


@pytest.mark.parametrize("additive", [False, True])
def test_a_row_that_sees_nothing(device, dtype, additive):
    rng = np.random.default_rng(0)
    q, k, v = (leaf(rng.normal(size=(1, 2, 3, 4)), dtype) for _ in range(3))
    visible = np.array([[True, False, True], [False, False, False], [True, True, True]])
    mask = np.where(visible, 0.0, -INF) if additive else visible
    y = ops.scaled_dot_product_attention(q, k, v, Tensor(mask, dtype=dtype if additive else "bool"))
    assert not y.data[:, :, 1].any()
    scores = np.einsum("bhid,bhjd->bhij", q.data, k.data).astype("float64") / 2
    scores = np.where(visible, scores, -INF)[:, :, [0, 2]]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    close(y.data[:, :, [0, 2]], weights @ v.data.astype("float64"), dtype, 5)
    y.backward()
    assert not q.grad[:, :, 1].any()
    for t in (q, k, v):
        assert np.isfinite(t.grad).all()
    assert q.grad[:, :, 0].any()


def test_training_with_a_masked_row_stays_finite(device):
    babygrad.manual_seed(0)
    model = nn.MultiHeadAttention(8, 2)
    optimizer = babygrad.optim.Adam(model.parameters(), lr=0.01)
    mask = np.ones((4, 4), bool)
    mask[2] = False
    x = Tensor(np.random.default_rng(0).normal(size=(3, 4, 8)))
    for _ in range(3):
        optimizer.zero_grad()
        (model(x, mask=Tensor(mask, dtype="bool")) ** 2).mean().backward()
        optimizer.step()
    assert all(np.isfinite(p.data).all() for p in model.parameters())
    babygrad.manual_seed(None)


def test_minus_infinity_plus_finite(device, dtype):
    y = Tensor([-INF, -INF], dtype=dtype) + Tensor([5.0, -1e30], dtype=dtype)
    assert y.tolist() == [-INF, -INF]
    with no_grad():
        p = ops.softmax(Tensor([[-INF, 0.0, 0.0]], dtype=dtype))
    np.testing.assert_array_equal(p.data, [[0, 0.5, 0.5]])
