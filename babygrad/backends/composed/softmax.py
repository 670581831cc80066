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
        """log(sum(exp(x))) along ``axis``: -inf when all are -inf or none is."""
        shift, rest = self._logsumexp(x, axis)
        result = self.add(rest, shift)
        return result if keepdims else self.squeeze(result, axis)

    def _logsumexp(self, x: Array, axis: Axis) -> tuple[Array, Array]:
        """The maximum, or 0 where that is infinite or there is none, and what logsumexp adds."""
        if x.size == 0:  # there is no maximum, perhaps
            total = self.sum(x, axis, True)
            return total, self.log(total)
        largest = self.max(x, axis, True)
        shift = self.where(self.isfinite(largest), largest, 0)
        return shift, self.log(self.sum(self.exp(self.subtract(x, shift)), axis, True))

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
        shift, rest = self._logsumexp(x, 1)
        column = self.expand_dims(target, 1)
        picked = self.take_along_axis(x, self.maximum(column, 0), 1)
        # The logit comes off the maximum: off lse it would leave the digits of the large number.
        loss = self.add(self.subtract(shift, picked), rest)
        loss = self.where(self.less(column, 0), 0, loss)
        return self.squeeze(loss, 1), self.squeeze(self.add(rest, shift), 1)

    def cross_entropy_grad(self, gy: Array, x: Array, lse: Array, target: Array) -> Array:
        """gy (softmax(x) - onehot(target)), 0 in rows left out; gy (N,) -> (N, C)."""
        column = self.expand_dims(target, 1)
        classes = self.arange(0, x.shape[1], 1, "int64")
        onehot = self.astype(self.equal(classes, column), x.dtype)
        p = self.exp(self.subtract(x, self.expand_dims(lse, 1)))
        gx = self.multiply(self.subtract(p, onehot), self.expand_dims(gy, 1))
        return self.where(self.less(column, 0), 0, gx)
