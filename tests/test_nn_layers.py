"""Layers: the book's, those beyond it, and containers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, init, nn, ops

rng = np.random.default_rng(10)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_errata_linear_is_kaiming_uniform_with_zero_bias(device: str) -> None:
    layer = nn.Linear(600, 400)
    bound = np.sqrt(6 / 600)
    values = layer.weight.data
    assert values.shape == (600, 400)
    assert abs(values).max() <= np.float32(bound)
    # The standard deviation of 240,000 uniform values, within five of its own standard errors.
    assert abs(values.std() / (bound / np.sqrt(3)) - 1) < 5 * 0.45 / np.sqrt(values.size)
    assert layer.bias is not None
    assert layer.bias.shape == (1, 400)
    assert not layer.bias.data.any()
    assert nn.Linear(3, 2, bias=False).bias is None


def test_linear_maps_the_last_axis(device: str, dtype: str) -> None:
    layer = nn.Linear(3, 2, dtype=dtype)
    assert layer.bias is not None
    layer.bias.data[...] = 0.5
    for lead in ((4,), (2, 5), ()):
        x = rng.normal(size=(*lead, 3)).astype(dtype)
        y = layer(Tensor(x, dtype=dtype))
        assert y.dtype == np.dtype(dtype)
        expected = x.astype("f8") @ layer.weight.data.astype("f8") + 0.5
        np.testing.assert_allclose(y.data, expected, atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("name", "spread"),
    [("xavier_uniform", 2 / 500), ("xavier_normal", 2 / 500), ("kaiming_uniform", 2 / 300),
     ("kaiming_normal", 2 / 300)],
)  # fmt: skip
def test_initial_values(name: str, spread: float, device: str) -> None:
    values = getattr(init, name)(300, 200)
    assert values.shape == (300, 200)
    assert values.device == device
    assert abs(values.data.var() / spread - 1) < 5 * np.sqrt(2 / values.size)
    assert abs(values.data.mean()) < 5 * np.sqrt(spread / values.size)
    assert getattr(init, name)(3, 2, shape=(2, 3, 4), dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match=f"{name}: fan_in"):
        getattr(init, name)(0, 0)


def test_one_seed_gives_the_same_weights_on_every_device(device: str) -> None:
    np.random.seed(4)
    expected = np.random.rand(3, 2) * (2 * np.sqrt(2)) - np.sqrt(2)
    np.random.seed(4)
    assert (nn.Linear(3, 2).weight.data == expected.astype("float32")).all()


def test_the_books_convolution_keeps_the_size(device: str) -> None:
    layer = nn.Conv(2, 4, 3)
    x = rng.normal(size=(1, 2, 5, 6))
    y = layer(Tensor(x))
    assert y.shape == (1, 4, 5, 6)
    assert nn.Conv(2, 4, (5, 5), (2, 2))(Tensor(x)).shape == (1, 4, 3, 3)
    assert layer.weight.shape == (3, 3, 2, 4)
    assert layer.bias is not None
    inner = np.einsum("chw,hwco->o", x[0, :, 1:4, 2:5], layer.weight.data.astype("f8"))
    np.testing.assert_allclose(y.data[0, :, 2, 3], inner + layer.bias.data, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="Conv: x has shape"):
        layer(Tensor(x[0]))


def test_layers_of_windows_have_the_shapes_of_pytorch(device: str) -> None:
    x = Tensor(rng.normal(size=(2, 4, 8, 6)))
    layers = {
        nn.Conv2d(4, 6, (3, 2), 2, 1, groups=2): ((6, 2, 3, 2), (2, 6, 4, 4)),
        nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2): ((4, 3, 3, 3), (2, 6, 16, 12)),
        nn.MaxPool2d(2): (None, (2, 4, 4, 3)),
        nn.AvgPool2d(3, 1, 1): (None, (2, 4, 8, 6)),
        nn.AdaptiveAvgPool2d(1): (None, (2, 4, 1, 1)),
        nn.GroupNorm(2, 4): ((4,), x.shape),
        nn.RMSNorm(6): ((6,), x.shape),
        nn.LayerNorm((8, 6)): ((8, 6), x.shape),
    }
    for layer, (weight, out) in layers.items():
        assert layer(x).shape == out, layer
        if weight:
            assert layer.weight.shape == weight
    assert nn.Conv1d(4, 6, 3)(Tensor(rng.normal(size=(2, 4, 9)))).shape == (2, 6, 7)
    with pytest.raises(ValueError, match="must be divisible by groups"):
        nn.Conv2d(4, 6, 3, groups=4)


def test_sequential_is_the_books_and_a_list(device: str) -> None:
    first, second = nn.Linear(3, 4), nn.Tanh()
    model = nn.Sequential(first, second)
    assert model.modules == (first, second)
    assert model.modules[0] is model[0] is first
    assert [*model.modules()] == [model, first, second]
    assert [*model] == [first, second]
    assert len(model) == 2
    assert [*model[1:]] == [second]
    assert list(model.state_dict()) == ["modules.0.weight", "modules.0.bias"]
    with pytest.raises(TypeError, match="Sequential: entry 1 is a function"):
        nn.Sequential(first, ops.relu)  # type: ignore[arg-type]


def test_module_list_and_dict(device: str) -> None:
    layers = nn.ModuleList([nn.Linear(2, 2)]).append(nn.Linear(2, 3))
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(layers[1:]) == 1
    layers[0] = nn.Identity(5)
    assert [type(m).__name__ for m in layers] == ["Identity", "Linear"]
    named = nn.ModuleDict({"a": nn.Linear(2, 2)})
    named["b"] = nn.ReLU()
    assert list(named) == list(named.keys()) == ["a", "b"]
    assert "a" in named
    assert len(named.parameters()) == 2
    del named["a"]
    assert [name for name, _ in named.items()] == ["b"]
    assert [type(m).__name__ for m in named.values()] == ["ReLU"]


def test_activation_modules_are_the_operations(device: str) -> None:
    x = Tensor(rng.normal(size=(2, 3)))
    pairs = {
        nn.ReLU(): ops.relu, nn.SiLU(): ops.silu, nn.Sigmoid(): ops.sigmoid, nn.Tanh(): ops.tanh,
        nn.Softplus(): ops.softplus, nn.GELU(): ops.gelu, nn.ELU(): ops.elu,
        nn.LeakyReLU(): ops.leaky_relu, nn.Hardtanh(): ops.hardtanh, nn.Softmax(): ops.softmax,
        nn.LogSoftmax(): ops.logsoftmax,
    }  # fmt: skip
    for module, op in pairs.items():
        np.testing.assert_array_equal(module(x).data, op(x).data)
    assert nn.Flatten()(Tensor(np.zeros((2, 3, 4)))).shape == (2, 12)
    assert nn.Flatten()(Tensor(np.zeros((0, 3, 4)))).shape == (0, 12)


def naive_step(kind: str, w: Any, x: Any, h: Any, c: Any) -> Any:
    """One step of a cell by its published formula, for one layer."""
    gi = w["weight_ih_l0"] @ x + w["bias_ih_l0"]
    gh = w["weight_hh_l0"] @ h + w["bias_hh_l0"]
    if kind == "RNN":
        return np.tanh(gi + gh), c
    if kind == "LSTM":
        i, f, g, o = np.split(gi + gh, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (ri, zi, ni), (rh, zh, nh) = np.split(gi, 3), np.split(gh, 3)
    z = sigmoid(zi + zh)
    return (1 - z) * np.tanh(ni + sigmoid(ri + rh) * nh) + z * h, c


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_follow_their_formulas(kind: str, device: str) -> None:
    layer = getattr(nn, kind)(3, 4, dtype="float64")
    x = rng.normal(size=(5, 2, 3))
    y, last = layer(Tensor(x, dtype="float64"))
    last = last if kind == "LSTM" else (last,)
    w = layer.state_dict()
    for sample in range(2):
        h = c = np.zeros(4)
        for t in range(5):
            h, c = naive_step(kind, w, x[t, sample], h, c)
            np.testing.assert_allclose(y.data[t, sample], h, atol=1e-12)
        np.testing.assert_allclose(last[0].data[0, sample], h, atol=1e-12)
        if kind == "LSTM":
            np.testing.assert_allclose(last[1].data[0, sample], c, atol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_in_both_directions(kind: str, device: str) -> None:
    x = Tensor(rng.normal(size=(2, 5, 3)), dtype="float64")
    settings: Any = {"num_layers": 2, "batch_first": True, "dtype": "float64"}
    layer = getattr(nn, kind)(3, 4, bidirectional=True, **settings)
    y, last = layer(x)
    state = last if kind == "LSTM" else (last,)
    assert y.shape == (2, 5, 8)
    assert [s.shape for s in state] == [(4, 2, 4)] * len(state)
    # The last layer's backward direction ends at the first step.
    np.testing.assert_allclose(y.data[:, 0, 4:], state[0].data[3], atol=1e-15)
    np.testing.assert_allclose(y.data[:, -1, :4], state[0].data[2], atol=1e-15)
    whole = getattr(nn, kind)(3, 4, **settings)
    full, _ = whole(x)
    half, middle = whole(x[:, :2])
    rest, _ = whole(x[:, 2:], middle)
    joined = np.concatenate([half.data, rest.data], 1)
    np.testing.assert_allclose(joined, full.data, atol=1e-12)
    with pytest.raises(ValueError, match=f"{kind}: state has the shapes"):
        whole(x, Tensor(np.zeros((1, 2, 4))))
    with pytest.raises(ValueError, match=f"{kind}: x has shape"):
        whole(x[0, 0])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_of_one_sequence(kind: str, device: str, dtype: str) -> None:
    """(L, features) without a batch, for which batch_first says nothing, as in PyTorch."""
    layer = getattr(nn, kind)(3, 4, batch_first=True, dtype=dtype)
    w = {name: value.astype("f8") for name, value in layer.state_dict().items()}
    x = rng.normal(size=(5, 3)).astype(dtype)
    h, c = rng.normal(size=(2, 4)).astype(dtype)
    first: Any = tuple(Tensor([s], dtype=dtype) for s in (h, c))
    y, last = layer(Tensor(x, dtype=dtype), first if kind == "LSTM" else first[0])
    last = last if kind == "LSTM" else (last,)
    assert y.shape == (5, 4)
    assert [s.shape for s in last] == [(1, 4)] * len(last)
    close = {"rtol": 0, "atol": 40 * np.finfo(dtype).eps}
    for t in range(5):
        h, c = naive_step(kind, w, x[t].astype("f8"), h, c)
        np.testing.assert_allclose(y.data[t], h, **close)
    for state, expected in zip(last, (h, c), strict=False):
        np.testing.assert_allclose(state.data[0], expected, **close)
    y, _ = layer(Tensor(x, dtype=dtype))
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    with pytest.raises(ValueError, match=r"it must be \d of \(1, 4\)"):
        layer(Tensor(x, dtype=dtype), tuple(s.unsqueeze(1) for s in first[: len(last)]))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_one_sequence_is_a_batch_of_one_in_layers_and_directions(kind: str, device: str) -> None:
    layer = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True)
    x = Tensor(rng.normal(size=(5, 3)))
    (y, last), (ys, lasts) = layer(x), layer(x.unsqueeze(1))
    pairs = [(y, ys), *(zip(last, lasts, strict=True) if kind == "LSTM" else [(last, lasts)])]
    for one, batch in pairs:
        np.testing.assert_array_equal(one.data, batch.data[:, 0])


def test_multi_head_attention_is_attention_by_heads(device: str) -> None:
    layer = nn.MultiHeadAttention(4, 2, dtype="float64")
    x = rng.normal(size=(1, 3, 4))
    w, out = layer.in_proj_weight.data, layer.out_proj.weight.data
    q, k, v = (x[0] @ part.T for part in np.split(w, 3))
    heads = []
    for h in (slice(0, 2), slice(2, 4)):
        scores = q[:, h] @ k[:, h].T / np.sqrt(2)
        p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        heads.append(p @ v[:, h])
    expected = np.concatenate(heads, 1) @ out.T
    tensor = Tensor(x, dtype="float64")
    np.testing.assert_allclose(layer(tensor).data[0], expected, atol=1e-12)
    np.testing.assert_allclose(layer(tensor, tensor * 1, tensor * 1).data[0], expected, atol=1e-12)
    with pytest.raises(ValueError, match="must be divisible by num_heads"):
        nn.MultiHeadAttention(4, 3)
    with pytest.raises(ValueError, match="query has shape"):
        layer(tensor[0])


def test_multi_head_attention_drops_weights_in_training_only(device: str) -> None:
    """Values of ones and a last layer that is the identity: the result is each row's weights."""
    layer = nn.MultiHeadAttention(4, 2, dropout=0.5, dtype="float64")
    layer.out_proj.weight.data = np.eye(4)
    layer.in_proj_weight.data = np.concatenate([rng.normal(size=(8, 4)), np.eye(4)])
    x = np.ones((1, 40, 4))
    np.testing.assert_allclose(layer.eval()(Tensor(x, dtype="float64")).data, x, atol=1e-14)
    y = layer.train()(Tensor(x, dtype="float64")).data
    # Equal scores: each of 40 weights is 1/40 and doubled or dropped, for all of a head's features.
    kept = y * 20
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-12)
    np.testing.assert_array_equal(y[..., 0], y[..., 1])
    assert (y[..., 0] != y[..., 2]).any()
    assert abs(kept.mean() - 20) < 5 * np.sqrt(40 / 4 / 80)


def test_a_transformer_block_drops_in_four_places_in_training(device: str) -> None:
    """With p=1 both parts give their last bias at most: the input is what is left of the block."""
    x = Tensor(rng.normal(size=(2, 5, 8)))
    block = nn.TransformerBlock(8, 2, dropout=1.0)
    np.testing.assert_array_equal(block(x).data, x.data)
    calls: list[Any] = []
    block.dropout = nn.Dropout(0.0)
    block.dropout.forward = lambda x: calls.append(x.shape) or x  # type: ignore[method-assign]
    block(x)
    assert (block.self_attn.dropout, calls) == (1.0, [(2, 5, 8), (2, 5, 32), (2, 5, 8)])
    assert np.isfinite(block.eval()(x).data).all()


def test_a_causal_transformer_block_does_not_look_ahead(device: str) -> None:
    for norm_first in (True, False):
        block = nn.TransformerBlock(8, 2, norm_first=norm_first, dtype="float64")
        x = rng.normal(size=(1, 5, 8))
        changed = x.copy()
        changed[0, 3:] += 1.0
        a, b = (block(Tensor(v, dtype="float64"), causal=True).data for v in (x, changed))
        np.testing.assert_allclose(a[0, :3], b[0, :3], atol=1e-13)
        assert abs(a[0, 3:] - b[0, 3:]).max() > 1e-3
    names = [name for name, _ in block.named_parameters()]
    assert names[:4] == [
        "self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
        "self_attn.out_proj.bias",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="activation"):
        nn.TransformerBlock(8, 2, activation="swish")
