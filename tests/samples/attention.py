"""Samples of attention and embedding."""

from __future__ import annotations

from babygrad import Tensor, ops
from samples import Sample, normal

VISIBLE = [[True, False, True], [False, False, False]]


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mask = Tensor(VISIBLE, dtype="bool", device=q.device)
    return ops.scaled_dot_product_attention(q, k, v, mask)


def masked_heads(qkv: Tensor) -> Tensor:
    mask = Tensor([[True, False], [False, False]], dtype="bool", device=qkv.device)
    return ops.self_attention(qkv, 2, mask)


SAMPLES = [
    Sample(
        "scaled_dot_product_attention",
        ops.scaled_dot_product_attention,
        normal(1, 2, 2, 2),
        normal(1, 2, 3, 2),
        normal(1, 2, 3, 1),
    ),
    Sample(
        "scaled_dot_product_attention",
        lambda q, k, v: ops.scaled_dot_product_attention(q, k, v, causal=True, scale=0.7),
        normal(2, 3, 2),
        normal(2, 3, 2),
        normal(2, 3, 2),
    ),
    Sample("scaled_dot_product_attention", masked, normal(2, 2), normal(3, 2), normal(3, 2)),
    Sample(
        "scaled_dot_product_attention",
        ops.scaled_dot_product_attention,
        normal(2, 2),
        normal(3, 2),
        normal(3, 2),
        normal(2, 3),
    ),
    Sample(
        "self_attention",
        lambda qkv: ops.self_attention(qkv, 2, causal=True),
        normal(2, 3, 12),
    ),
    Sample("self_attention", masked_heads, normal(2, 2, 6)),
    Sample("embedding", lambda w: ops.embedding([[0, 2], [2, 1]], w), normal(3, 2)),
]
