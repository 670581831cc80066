"""The suite's attention: separate q, k and v, and the three of them in one array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from babygrad.backends.aliases import Array
from babygrad.testing import oracles
from babygrad.testing.arrays import FLOATS, frozen_call, layouts, values
from babygrad.testing.oracles import exact
from babygrad.testing.tolerance import SUM, Exact, check

floats = pytest.mark.parametrize("dtype", FLOATS)
SCALE = 0.5
SIZE = 4 * 9 * math.sqrt(7) * 3  # scores of 4 products, 7 terms of at most 3


class AttentionSuite:
    @floats
    @pytest.mark.parametrize("causal", [False, True])
    @pytest.mark.parametrize("masked", [None, "bool", "float"])
    def test_attention(self, xp: Any, masked: str | None, causal: bool, dtype: str) -> None:
        q, k, v = (values((2, 3, 5, d), dtype, seed=d) for d in (4, 4, 6))
        k = np.concatenate([k, k[:, :, :2]], 2)
        v = np.concatenate([v, v[:, :, :2]], 2)
        mask = _mask((3, 1, 7) if causal else (2, 1, 5, 7), masked, dtype)
        gy = values((2, 3, 5, 6), dtype, seed=9)
        want, lse, gradients = _attention(q, k, v, gy, mask, causal)
        y, got_lse = frozen_call(xp.attention, q, k, v, mask, causal, SCALE)
        check(y, want, dtype, SUM, scale=SIZE, of="attention")
        check(got_lse, lse, dtype, SUM, scale=SIZE, of="lse")
        saved = (np.asarray(want, dtype), np.asarray(lse, dtype))
        got = frozen_call(xp.attention_grad, gy, q, k, v, *saved, mask, causal, SCALE)
        for g, gradient, name in zip(got, gradients, "qkv", strict=True):
            check(g, gradient, dtype, SUM, scale=SIZE * 9, of=f"attention_grad, g{name}")

    @floats
    def test_attention_strides(self, xp: Any, dtype: str) -> None:
        """Heads are usually a view: (B, L, H, D) seen as (B, H, L, D)."""
        q, k, v = (values((2, 5, 3, 4), dtype, seed=s).transpose(0, 2, 1, 3) for s in range(3))
        p, _ = oracles.attention_probabilities(exact(q), exact(k), None, True, SCALE)
        y, _ = frozen_call(xp.attention, q, k, v, None, True, SCALE)
        want = np.einsum("bhls,bhse->bhle", p, exact(v))
        check(y, want, dtype, SUM, scale=4 * 9 * math.sqrt(5) * 3, of="attention, strided")

    @floats
    def test_attention_keeps_nan(self, xp: Any, dtype: str) -> None:
        """Of the queries that see it, and of no others."""
        q, k, v = (values((1, 1, 9, 4), dtype, seed=s) for s in range(3))
        for place in range(9):
            broken = k.copy()
            broken[0, 0, place, 1] = np.nan
            y, lse = frozen_call(xp.attention, q, broken, v, None, True, SCALE)
            sees = np.arange(9) >= place
            assert np.isnan(y[0, 0]).all(1).tolist() == sees.tolist()
            assert np.isnan(y[0, 0]).any(1).tolist() == sees.tolist()
            assert np.isnan(lse[0, 0]).tolist() == sees.tolist()

    @floats
    @pytest.mark.parametrize("causal", [False, True])
    @pytest.mark.parametrize("masked", [None, "bool", "float"])
    @pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 7, 2, 8), (2, 1, 1, 3), (2, 3, 2, 0)])
    def test_self_attention(
        self, xp: Any, shape: tuple[int, ...], masked: str | None, causal: bool, dtype: str
    ) -> None:
        """(B, L, H, D): the array holds q, k and v beside each other, head after head."""
        batch, length, heads, size = shape
        width = heads * size
        qkv = values((batch, length, 3 * width), dtype, seed=1)
        gy = values((batch, length, width), dtype, seed=9)
        mask = _mask((1, 1, length, length) if causal else (batch, 1, 1, length), masked, dtype)
        parts = (qkv[..., start * width : (start + 1) * width] for start in range(3))
        q, k, v, split = (x.reshape(shape).transpose(0, 2, 1, 3) for x in (*parts, gy))
        want, lse, gradients = _attention(q, k, v, split, mask, causal)
        want = want.transpose(0, 2, 1, 3).reshape(gy.shape)
        joined = np.concatenate(
            [g.transpose(0, 2, 1, 3).reshape(gy.shape) for g in gradients], axis=-1
        )
        saved = (np.asarray(want, dtype), np.asarray(lse, dtype))
        for layout, given in layouts(qkv):
            y, got_lse = frozen_call(xp.self_attention, given, heads, mask, causal, SCALE)
            check(y, want, dtype, SUM, scale=2 * SIZE, of=f"self_attention, {layout}")
            check(got_lse, lse, dtype, SUM, scale=2 * SIZE, of=f"lse, {layout}")
            got = frozen_call(xp.self_attention_grad, gy, given, *saved, heads, mask, causal, SCALE)
            check(got, joined, dtype, SUM, scale=SIZE * 18, of=f"self_attention_grad, {layout}")


def _mask(shape: tuple[int, ...], kind: str | None, dtype: str) -> Array | None:
    """Every row sees its first position, but for one that sees nothing where rows differ."""
    if kind is None:
        return None
    mask = values(shape, "bool")
    mask[..., 0] = True
    if shape[-2] > 2:
        mask[-1, 0, 2] = False
    return mask if kind == "bool" else np.where(mask, values(shape, dtype), -np.inf).astype(dtype)


def _attention(
    q: Array, k: Array, v: Array, gy: Array, mask: Array | None, causal: bool
) -> tuple[Exact, Exact, tuple[Exact, ...]]:
    """y, lse and (gq, gk, gv), through the Jacobian of softmax."""
    q, k, v, gy = map(exact, (q, k, v, gy))
    p, lse = oracles.attention_probabilities(q, k, mask, causal, SCALE)
    gp = np.einsum("bhle,bhse->bhls", gy, v)
    gs = np.einsum("bhli,bhlij->bhlj", gp, oracles.softmax_jacobian(p)) * SCALE
    gradients = (
        np.einsum("bhls,bhsd->bhld", gs, k),
        np.einsum("bhls,bhld->bhsd", gs, q),
        np.einsum("bhls,bhle->bhse", p, gy),
    )
    return np.einsum("bhls,bhse->bhle", p, v), lse, gradients
