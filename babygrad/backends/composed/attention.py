"""Scaled dot-product attention (Vaswani et al., 2017) and its gradient."""

from __future__ import annotations

import math

from babygrad.backends.aliases import Array
from babygrad.backends.composed.softmax import Softmax


class Attention(Softmax):
    """q (B, H, L, D), k (B, H, S, D), v (B, H, S, E)."""

    def attention(
        self, q: Array, k: Array, v: Array, mask: Array | None, causal: bool, scale: float
    ) -> tuple[Array, Array]:
        """softmax(scale q k^T + mask) v.

        Parameters
        ----------
        mask : None, or broadcastable to (B, H, L, S)
            bool: True takes part; float: added to the scores.
        causal : position i sees positions j <= i only

        Returns
        -------
        y, lse : (B, H, L, E), (B, H, L)
            lse is the logsumexp of the scores. A row with everything masked gives 0 (lse -inf).
        """
        scores = self._scores(q, k, mask, causal, scale)
        lse = self.logsumexp(scores, -1, False)
        return self.matmul(self._probabilities(scores, lse), v), lse

    def attention_grad(
        self,
        gy: Array,
        q: Array,
        k: Array,
        v: Array,
        y: Array,
        lse: Array,
        mask: Array | None,
        causal: bool,
        scale: float,
    ) -> tuple[Array, Array, Array]:
        """The gradients gq, gk, gv, with p computed again from lse (Dao et al., 2022, section 3).

        gv = p^T gy, and gs = p (gy v^T - sum(gy y)) is the gradient of the scores.
        """
        p = self._probabilities(self._scores(q, k, mask, causal, scale), lse)
        inner = self.sum(self.multiply(gy, y), -1, True)
        gp = self.matmul(gy, self._transposed(v))
        gs = self.multiply(self.multiply(p, self.subtract(gp, inner)), scale)
        gq = self.matmul(gs, k)
        gk = self.matmul(self._transposed(gs), q)
        gv = self.matmul(self._transposed(p), gy)
        return gq, gk, gv

    def self_attention(
        self, qkv: Array, heads: int, mask: Array | None, causal: bool, scale: float
    ) -> tuple[Array, Array]:
        """The attention of q, k and v beside each other, (B, L, 3 E), to y (B, L, E) and lse.

        Head h has the features from h E / heads on of each.
        """
        q, k, v = self._three(qkv, heads)
        y, lse = self.attention(q, k, v, mask, causal, scale)
        return self._joined(y), lse

    def self_attention_grad(
        self,
        gy: Array,
        qkv: Array,
        y: Array,
        lse: Array,
        heads: int,
        mask: Array | None,
        causal: bool,
        scale: float,
    ) -> Array:
        """The gradient of qkv, (B, L, 3 E)."""
        q, k, v = self._three(qkv, heads)
        gy, y = (self._heads(x, heads) for x in (gy, y))
        found = self.attention_grad(gy, q, k, v, y, lse, mask, causal, scale)
        return self.concat([self._joined(g) for g in found], -1)

    def _three(self, qkv: Array, heads: int) -> tuple[Array, ...]:
        width = qkv.shape[-1] // 3
        parts = (slice(start, start + width) for start in (0, width, 2 * width))
        return tuple(self._heads(self.getitem(qkv, (..., part)), heads) for part in parts)

    def _heads(self, x: Array, heads: int) -> Array:
        """(B, L, E) -> (B, H, L, E / H)."""
        batch, length, width = x.shape
        split = self.reshape(x, (batch, length, heads, width // heads))
        return self.permute_dims(split, (0, 2, 1, 3))

    def _joined(self, x: Array) -> Array:
        """(B, H, L, D) -> (B, L, H D)."""
        batch, heads, length, size = x.shape
        return self.reshape(self.permute_dims(x, (0, 2, 1, 3)), (batch, length, heads * size))

    def _scores(self, q: Array, k: Array, mask: Array | None, causal: bool, scale: float) -> Array:
        """(B, H, L, S), -inf where a position takes no part."""
        scores = self.multiply(self.matmul(q, self._transposed(k)), scale)
        if mask is not None and mask.dtype == bool:
            scores = self.where(mask, scores, -math.inf)
        elif mask is not None:
            scores = self.add(scores, mask)
        if causal:
            visible = self.tril(self.ones(scores.shape[-2:], "bool"), 0)
            scores = self.where(visible, scores, -math.inf)
        return scores

    def _probabilities(self, scores: Array, lse: Array) -> Array:
        """exp(scores - lse), with 0 in rows where all is masked (lse is -inf there)."""
        shift = self.where(self.equal(lse, -math.inf), 0, lse)
        return self.exp(self.subtract(scores, self.expand_dims(shift, -1)))

    def _transposed(self, x: Array) -> Array:
        return self.permute_dims(x, (0, 1, 3, 2))
