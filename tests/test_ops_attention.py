"""Attention against the formula in float64, its masks and its dropout; embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn, no_grad, ops

rng = np.random.default_rng(9)
attend = ops.scaled_dot_product_attention


def naive_attention(q: Any, k: Any, v: Any, visible: Any) -> Any:
    """Row by row, over the visible keys alone; a row that sees none is 0."""
    y = np.zeros((*q.shape[:-1], v.shape[-1]))
    for place in np.ndindex(q.shape[:-1]):
        *lead, row = place
        keys = np.flatnonzero(np.broadcast_to(visible, (q.shape[-2], k.shape[-2]))[row])
        if keys.size:
            scores = k[tuple(lead)][keys] @ q[place] / np.sqrt(q.shape[-1])
            p = np.exp(scores - scores.max())
            y[place] = p @ v[tuple(lead)][keys] / p.sum()
    return y


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 1, 3)])
def test_values_for_every_rank_and_mask(lead: Any, device: str, dtype: str) -> None:
    q, k, v = (rng.normal(size=(*lead, n, d)).astype(dtype) for n, d in ((4, 3), (5, 3), (5, 2)))
    tensors = [Tensor(a, dtype=dtype) for a in (q, k, v)]
    exact = [a.astype("f8") for a in (q, k, v)]
    mask = rng.random((4, 5)) > 0.4
    mask[0] = True
    causal = np.tril(np.ones((4, 5), bool))
    added = Tensor(np.where(mask, 0.0, -np.inf), dtype=dtype)
    cases: list[tuple[Tensor, Any]] = [
        (attend(*tensors), True),
        (attend(*tensors, mask), mask),
        (attend(*tensors, added), mask),
        (attend(*tensors, causal=True), causal),
        (attend(*tensors, mask, causal=True), mask & causal),
    ]
    for y, visible in cases:
        assert y.dtype == np.dtype(dtype)
        expected = naive_attention(*exact, visible)
        np.testing.assert_allclose(y.data, expected, atol=60 * np.finfo(dtype).eps)


def naive_gradients(
    q: Any, k: Any, v: Any, gy: Any, visible: Any, factor: Any = None
) -> tuple[Any, Any, Any]:
    """Of one head, row by row: each query adds to the gradients of the keys that it sees.

    `factor` is what each weight is multiplied by, in place of 1.
    """
    gq, gk, gv = (np.zeros_like(a) for a in (q, k, v))
    scale = 1 / np.sqrt(q.shape[-1])
    for row, keys in enumerate(np.flatnonzero(seen) for seen in visible):
        if keys.size:
            scores = k[keys] @ q[row] * scale
            p = np.exp(scores - scores.max())
            p /= p.sum()
            times = np.ones(keys.size) if factor is None else factor[row, keys]
            gp = (v[keys] @ gy[row]) * times
            gs = p * (gp - p @ gp) * scale
            gq[row] = gs @ k[keys]
            gk[keys] += np.outer(gs, q[row])
            gv[keys] += np.outer(p * times, gy[row])
    return gq, gk, gv


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("heads", "length", "keys", "features", "out"),
    [(3, 64, 64, 32, 32), (3, 150, 70, 5, 16), (1, 66, 131, 16, 3), (1, 140, 300, 5, 16)],
)
def test_several_tiles_with_heads_split_off_the_features(
    heads: int,
    length: int,
    keys: int,
    features: int,
    out: int,
    masked: bool,
    causal: bool,
    device: str,
    dtype: str,
) -> None:
    """Values and gradients; q, k and v are views of (batch, position, head, feature)."""
    shapes = ((2, length, heads, features), (2, keys, heads, features), (2, keys, heads, out))
    whole = [Tensor(rng.normal(size=s), dtype=dtype, requires_grad=True) for s in shapes]
    q, k, v = (x.transpose((1, 2)) for x in whole)
    visible = np.tril(np.ones((length, keys), bool)) if causal else np.ones((length, keys), bool)
    mask = rng.random((length, keys)) > 0.3 if masked else None
    y = attend(q, k, v, mask, causal=causal)
    gy = rng.normal(size=y.shape).astype(dtype)
    y.backward(gy)
    visible = visible & mask if mask is not None else visible
    exact = [x.data.astype("f8") for x in (q, k, v)]
    close = {"rtol": 0, "atol": 400 * np.finfo(dtype).eps}
    np.testing.assert_allclose(y.data, naive_attention(*exact, visible), **close)
    for head in np.ndindex(2, heads):
        args = [a[head] for a in (*exact, gy.astype("f8"))]
        for x, expected in zip(whole, naive_gradients(*args, visible), strict=True):
            assert x.grad is not None
            np.testing.assert_allclose(x.grad[head[0], :, head[1]], expected, **close)


def test_dropout_multiplies_the_weights(device: str, dtype: str) -> None:
    """By 0 or 1 / (1 - p); values and gradients, the values once more from the weights alone."""
    shapes = ((2, 6, 3), (2, 5, 3), (2, 5, 4))
    q, k, v = (Tensor(rng.normal(size=s), dtype=dtype, requires_grad=True) for s in shapes)
    factor = (np.random.default_rng(4).random((2, 6, 5)) <= 0.75) / 0.75
    visible = np.tril(np.ones((6, 5), bool))
    settings: Any = {"causal": True, "dropout": 0.25, "generator": np.random.default_rng(4)}
    y = attend(q, k, v, **settings)
    assert y.dtype == np.dtype(dtype)
    gy = rng.normal(size=y.shape).astype(dtype)
    y.backward(gy)
    exact = [x.data.astype("f8") for x in (q, k, v)]
    identity = np.broadcast_to(np.eye(5), (2, 5, 5))
    weights = naive_attention(*exact[:2], identity, visible) * factor
    close = {"rtol": 0, "atol": 100 * np.finfo(dtype).eps}
    np.testing.assert_allclose(y.data, weights @ exact[2], **close)
    for i in range(2):
        args = [a[i] for a in (*exact, gy.astype("f8"))]
        for x, expected in zip((q, k, v), naive_gradients(*args, visible, factor[i]), strict=True):
            np.testing.assert_allclose(x.grad[i], expected, **close)


def test_dropout_of_everything_and_of_nothing(device: str) -> None:
    q = Tensor(rng.normal(size=(4, 3)))
    assert not attend(q, q, q, dropout=1.0).data.any()
    np.testing.assert_array_equal(attend(q, q, q, dropout=0.0).data, attend(q, q, q).data)
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match=rf"attention: dropout \(={wrong}\) must lie in"):
            attend(q, q, q, dropout=wrong)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(
    "leads",
    [((), (2,), (3, 1)), ((2, 3), (3,), (1, 1)), ((1, 2), (2, 1), (2, 2)), ((4, 1, 2), (3, 1), ())],
)
def test_leading_axes_broadcast(leads: Any, dropout: float, device: str, dtype: str) -> None:
    """As if q, k and v had been repeated; their gradients are added up over the repetitions."""
    sizes = ((5, 3), (4, 3), (4, 2))
    arrays = [rng.normal(size=(*a, *b)).astype(dtype) for a, b in zip(leads, sizes, strict=True)]
    lead = np.broadcast_shapes(*leads)
    small = [Tensor(a, dtype=dtype, requires_grad=True) for a in arrays]
    mask = rng.random((5, 4)) > 0.3
    y = attend(*small, mask, dropout=dropout, generator=np.random.default_rng(6))
    assert y.shape == (*lead, 5, 2)
    factor = np.ones((*np.broadcast_shapes(*leads[:2]), 5, 4))  # a weight is of q and k
    if dropout:
        factor = (np.random.default_rng(6).random(factor.shape) <= 1 - dropout) / (1 - dropout)
    factor = np.broadcast_to(factor, (*lead, 5, 4))
    gy = rng.normal(size=y.shape).astype(dtype)
    y.backward(gy)
    whole = [np.broadcast_to(a, (*lead, *a.shape[-2:])).astype("f8") for a in arrays]
    close = {"rtol": 0, "atol": 400 * np.finfo(dtype).eps}
    gradients = [np.zeros(a.shape) for a in arrays]
    for place in np.ndindex(lead):
        q, k, v = (a[place] for a in whole)
        weights = naive_attention(q, k, np.eye(4), mask) * factor[place]
        np.testing.assert_allclose(y.data[place], weights @ v, **close)
        found = naive_gradients(q, k, v, gy[place].astype("f8"), mask, factor[place])
        for total, part in zip(gradients, found, strict=True):
            own = place[len(place) - (total.ndim - 2) :]
            total[tuple(0 if n == 1 else i for i, n in zip(own, total.shape, strict=False))] += part
    for x, expected in zip(small, gradients, strict=True):
        np.testing.assert_allclose(x.grad, expected, **close)


def test_heads_are_joined_again_without_a_copy() -> None:
    """On cpu:cpp the result has the memory order of the queries, and so have the gradients."""
    pytest.importorskip("babygrad._core")
    x = Tensor(rng.normal(size=(2, 5, 3, 4)), device="cpu:cpp", requires_grad=True)
    q = x.transpose((1, 2))
    y = attend(q, q, q, causal=True)
    assert y.transpose((1, 2)).data.flags.c_contiguous
    with no_grad():
        gradients = y._op.backward(y, y._node.as_tensor())
    assert all(g.transpose((1, 2)).data.flags.c_contiguous for g in gradients)


def test_a_fully_masked_row_is_zero_with_zero_gradients(device: str, dtype: str) -> None:
    q, k, v = (
        Tensor(rng.normal(size=(1, 1, 3, 2)), dtype=dtype, requires_grad=True) for _ in range(3)
    )
    visible = np.array([[True, False, True], [False, False, False], [True, True, True]])
    for mask in (visible, Tensor(np.where(visible, 0.0, -np.inf), dtype=dtype)):
        for tensor in (q, k, v):
            tensor.grad = None
        y = attend(q, k, v, mask)
        y.sum().backward()
        assert not y.data[0, 0, 1].any()
        assert not q.grad[0, 0, 1].any()
        assert all(np.isfinite(t.grad).all() for t in (q, k, v))
        assert y.data[0, 0, 0].any()


def test_minus_infinity_plus_finite_takes_no_part(device: str) -> None:
    q, k, v = (Tensor(rng.normal(size=(2, 2))) for _ in range(3))
    y = attend(q, k, v, Tensor([[1e4, -np.inf], [-np.inf, -1e4]]))
    np.testing.assert_allclose(y.data, v.data, rtol=1e-6)


def test_errors(device: str) -> None:
    q = np.zeros((2, 3))
    with pytest.raises(ValueError, match="must be"):
        attend(q, np.zeros((2, 4)), q)
    with pytest.raises(ValueError, match=r"leading axes: shapes \(2,\) and \(3,\) do not broad"):
        attend(np.zeros((2, 2, 3)), np.zeros((3, 2, 3)), q)
    with pytest.raises(ValueError, match=r"does not broadcast|do not broadcast"):
        attend(q, q, q, np.ones((3, 3), bool))
    with pytest.raises(TypeError, match="mask has dtype int64"):
        attend(q, q, q, np.ones((2, 2), "int64"))


def test_embedding(device: str, dtype: str) -> None:
    w = Tensor(rng.normal(size=(4, 2)), dtype=dtype, requires_grad=True)
    ids = np.array([[0, 3, 3], [1, 3, 1]])
    y = ops.embedding(ids, w, padding_idx=1)
    np.testing.assert_array_equal(y.data, w.data[ids])
    y.sum().backward()
    assert w.grad.tolist() == [[1, 1], [0, 0], [0, 0], [3, 3]]
    for wrong in (4, -1):
        with pytest.raises(IndexError, match=f"embedding: .* {wrong} at position"):
            ops.embedding([0, wrong], w)
    with pytest.raises(ValueError, match="padding_idx"):
        ops.embedding(ids, w, 4)
    layer = nn.Embedding(4, 2, padding_idx=0)
    assert layer([0, 1]).shape == (2, 2)
    assert not layer.weight.data[0].any()


# ----- Self-attention -----


def parts_of(qkv: Any, heads: int) -> list[Any]:
    """(N, L, 3 E) -> q, k and v, each (N, heads, L, E / heads)."""
    n, length, width = qkv.shape
    return list(qkv.reshape(n, length, 3, heads, width // 3 // heads).transpose(2, 0, 3, 1, 4))


@pytest.mark.parametrize("shape", [(2, 5, 24), (1, 1, 12), (3, 17, 36)])
@pytest.mark.parametrize("strided", [False, True])
def test_self_attention_is_attention_by_heads(
    shape: Any, strided: bool, device: str, dtype: str
) -> None:
    heads, (n, length, width) = 4, shape
    step = 2 if strided else 1
    qkv = rng.normal(size=(n, step * length, width)).astype(dtype)[:, ::step]
    gy = rng.normal(size=(n, length, width // 3)).astype(dtype)
    mask = np.tril(rng.random((n, 1, length, length)) > 0.3)
    for given, causal, visible in [
        (None, True, np.tril(np.ones((length, length), bool))),
        (mask, False, mask),
        (Tensor(np.where(mask, 0.0, -np.inf), dtype=dtype), True, mask),
    ]:
        x = Tensor(qkv, dtype=dtype, requires_grad=True)
        y = ops.self_attention(x, heads, given, causal)
        assert (y.shape, y.dtype) == ((n, length, width // 3), np.dtype(dtype))
        exact = parts_of(qkv.astype("f8"), heads)
        upstream = gy.astype("f8").reshape(n, length, heads, -1).transpose(0, 2, 1, 3)
        found, gradients = np.zeros_like(upstream), [np.zeros_like(a) for a in exact]
        for place in np.ndindex(n, heads):
            seen = np.broadcast_to(visible, (n, heads, length, length))[place]
            one = [a[place] for a in exact]
            found[place] = naive_attention(*one, seen)
            for total, g in zip(
                gradients, naive_gradients(*one, upstream[place], seen), strict=True
            ):
                total[place] = g
        close = {"atol": 200 * np.finfo(dtype).eps}
        expected = found.transpose(0, 2, 1, 3).reshape(y.shape)
        np.testing.assert_allclose(y.data, expected, **close)
        y.backward(Tensor(gy, dtype=dtype))
        joined = np.stack(gradients, 2).transpose(0, 3, 2, 1, 4)
        assert x.grad is not None
        np.testing.assert_allclose(x.grad, joined.reshape(shape), **close)


def test_self_attention_drops_and_differentiates_a_mask(device: str) -> None:
    x = Tensor(rng.normal(size=(2, 3, 12)), dtype="float64")
    bias = Tensor(np.zeros((3, 3)), dtype="float64", requires_grad=True)
    whole = ops.self_attention(x, 2)
    ops.self_attention(x, 2, bias).sum().backward()
    assert bias.grad is not None and (bias.grad != 0).any()
    assert not np.allclose(ops.self_attention(x, 2, dropout=0.5).data, whole.data)
    np.testing.assert_allclose(ops.self_attention(x, 2, bias).data, whole.data, atol=1e-14)
    assert ops.self_attention(Tensor.zeros(0, 3, 12), 2).shape == (0, 3, 4)


@pytest.mark.parametrize(("shape", "heads"), [((2, 3), 1), ((2, 3, 12), 3), ((2, 3, 12), 0)])
def test_self_attention_names_the_shape_and_the_heads(shape: Any, heads: int, device: str) -> None:
    with pytest.raises(ValueError, match=rf"self_attention: qkv .*num_heads is {heads};"):
        ops.self_attention(Tensor.zeros(*shape), heads)


def test_masks_go_by_pytorchs_names_too(device: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 3, 4)) for _ in range(3))
    mask = rng.random((3, 3)) < 0.7
    mask[:, 0] = True
    for settings, seen in (
        ({"attn_mask": mask}, mask),
        ({"is_causal": True}, np.tri(3, dtype=bool)),
        ({"attn_mask": mask, "is_causal": True}, mask & np.tri(3, dtype=bool)),
        ({"attn_mask": None, "is_causal": False}, np.ones((3, 3), bool)),
    ):
        weights = np.exp(q @ k.swapaxes(1, 2) / 2) * seen
        want = weights / weights.sum(-1, keepdims=True) @ v
        tensors = (Tensor(a, dtype=dtype) for a in (q, k, v))
        y = ops.scaled_dot_product_attention(*tensors, **settings)
        np.testing.assert_allclose(y.data, want, rtol=1e-5 if dtype == "float32" else 1e-12)
    x = Tensor(q)
    with pytest.raises(TypeError, match="attention: give mask or attn_mask, which are two"):
        ops.scaled_dot_product_attention(x, x, x, mask, attn_mask=mask)
