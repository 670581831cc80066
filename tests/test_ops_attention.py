"""Attention against the formula in float64, and its masks; embedding."""

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


def naive_gradients(q: Any, k: Any, v: Any, gy: Any, visible: Any) -> tuple[Any, Any, Any]:
    """Of one head, row by row: each query adds to the gradients of the keys that it sees."""
    gq, gk, gv = (np.zeros_like(a) for a in (q, k, v))
    scale = 1 / np.sqrt(q.shape[-1])
    for row, keys in enumerate(np.flatnonzero(seen) for seen in visible):
        if keys.size:
            scores = k[keys] @ q[row] * scale
            p = np.exp(scores - scores.max())
            p /= p.sum()
            gp = v[keys] @ gy[row]
            gs = p * (gp - p @ gp) * scale
            gq[row] = gs @ k[keys]
            gk[keys] += np.outer(gs, q[row])
            gv[keys] += np.outer(p, gy[row])
    return gq, gk, gv


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("length", "keys", "features", "out"), [(64, 64, 32, 32), (150, 70, 5, 16), (66, 131, 16, 3)]
)
def test_several_tiles_with_heads_split_off_the_features(
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
    shapes = ((2, length, 3, features), (2, keys, 3, features), (2, keys, 3, out))
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
    for head in np.ndindex(2, 3):
        args = [a[head] for a in (*exact, gy.astype("f8"))]
        for x, expected in zip(whole, naive_gradients(*args, visible), strict=True):
            assert x.grad is not None
            np.testing.assert_allclose(x.grad[head[0], :, head[1]], expected, **close)


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


def test_t18_a_fully_masked_row_is_zero_with_zero_gradients(device: str, dtype: str) -> None:
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


def test_t18_minus_infinity_plus_finite_takes_no_part(device: str) -> None:
    q, k, v = (Tensor(rng.normal(size=(2, 2))) for _ in range(3))
    y = attend(q, k, v, Tensor([[1e4, -np.inf], [-np.inf, -1e4]]))
    np.testing.assert_allclose(y.data, v.data, rtol=1e-6)


def test_errors(device: str) -> None:
    q = np.zeros((2, 3))
    with pytest.raises(ValueError, match="must be"):
        attend(q, np.zeros((2, 4)), q)
    with pytest.raises(ValueError, match=r"does not broadcast|do not broadcast"):
        attend(q, q, q, np.ones((3, 3), bool))
    with pytest.raises(TypeError, match="mask has dtype int64"):
        attend(q, q, q, np.ones((2, 2), "int64"))


def test_t10_embedding(device: str, dtype: str) -> None:
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
