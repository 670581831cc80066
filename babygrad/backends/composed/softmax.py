"""Softmax, its logarithm, logsumexp, and the cross-entropy built on them.

Every exponent is taken relative to the maximum, so that nothing overflows: exp(x - max) <= 1.
"""

from __future__ import annotations

from babygrad.backends.aliases import Array, Axis
from babygrad.backends.required import Required


class Softmax(Required):
    """``axis`` is an int, a tuple, or None for all axes."""

    def softmax(self, x: Array, axis: Axis) -> Array:
        """exp(x) / sum(exp(x)) along ``axis``; a slice that is all -inf or holds +inf is NaN."""
        e = self.exp(self.subtract(x, self.max(x, axis, True)))
        return self.divide(e, self.sum(e, axis, True))

    def softmax_grad(self, gy: Array, y: Array, axis: Axis) -> Array:
        """y (gy - sum(gy y))."""
        inner = self.sum(self.multiply(gy, y), axis, True)
        return self.multiply(y, self.subtract(gy, inner))

    def log_softmax(self, x: Array, axis: Axis) -> Array:
        """x - logsumexp(x) along ``axis``; a slice that is all -inf or holds +inf is NaN."""
        shifted = self.subtract(x, self.max(x, axis, True))
        return self.subtract(shifted, self.log(self.sum(self.exp(shifted), axis, True)))

    def log_softmax_grad(self, gy: Array, y: Array, axis: Axis) -> Array:
        """gy - exp(y) sum(gy)."""
        return self.subtract(gy, self.multiply(self.exp(y), self.sum(gy, axis, True)))

    def logsumexp(self, x: Array, axis: Axis, keepdims: bool) -> Array:
        """log(sum(exp(x))) along ``axis``: -inf when all are -inf, inf when one is inf."""
        largest = self.max(x, axis, True)
        shift = self.where(self.isfinite(largest), largest, 0)
        total = self.sum(self.exp(self.subtract(x, shift)), axis, True)
        result = self.add(self.log(total), shift)
        return result if keepdims else self.reshape(result, self.sum(largest, axis).shape)

    def cross_entropy(self, x: Array, target: Array) -> tuple[Array, Array]:
        """logsumexp(x) - x[target] for each row of logits.

        Parameters
        ----------
        x : (N, C)
        target : (N,) int64 in [0, C), or -1 for a row that is left out (its loss is 0)

        Returns
        -------
        loss, lse : (N,), (N,)
            The losses, and logsumexp(x, 1), which the gradient needs.
        """
        lse = self.logsumexp(x, 1, False)
        column = self.expand_dims(self.maximum(target, 0), 1)
        picked = self.squeeze(self.take_along_axis(x, column, 1), 1)
        loss = self.where(self.less(target, 0), 0, self.subtract(lse, picked))
        return loss, lse

    def cross_entropy_grad(self, gy: Array, x: Array, lse: Array, target: Array) -> Array:
        """gy (softmax(x) - onehot(target)), 0 in rows left out; gy (N,) -> (N, C)."""
        column = self.expand_dims(target, 1)
        classes = self.arange(0, x.shape[1], 1, "int64")
        onehot = self.astype(self.equal(classes, column), x.dtype)
        p = self.exp(self.subtract(x, self.expand_dims(lse, 1)))
        gx = self.multiply(self.subtract(p, onehot), self.expand_dims(gy, 1))
        return self.where(self.less(column, 0), 0, gx)
