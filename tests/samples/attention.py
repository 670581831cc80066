"""Samples of attention and embedding."""

from __future__ import annotations

from babygrad import Tensor, ops
from samples import Sample, normal

VISIBLE = [[True, False, True], [False, False, False]]


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mask = Tensor(VISIBLE, dtype="bool", device=q.device)
    return ops.scaled_dot_product_attention(q, k, v, mask)


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
    Sample("embedding", lambda w: ops.embedding([[0, 2], [2, 1]], w), normal(3, 2)),
]
