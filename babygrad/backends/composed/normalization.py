"""Layer, RMS and batch normalization with their gradients.

With x_hat = (x - mean) rstd and g = gy w, the gradient of a normalization over n elements is

    gx = rstd (g - mean(g) - x_hat mean(g x_hat))

(Ioffe and Szegedy, 2015). The variance takes two passes: E[x^2] - E[x]^2 loses everything when
the mean is large.
"""

from __future__ import annotations

import math

from babygrad.backends.aliases import Array, Axis, Shape
from babygrad.backends.composed.ranges import scale_of
from babygrad.backends.required import Required


class Normalization(Required):
    """Weights and biases are (D,) or None; rstd is 1 / sqrt(variance + eps), biased variance."""

    def layer_norm(
        self, x: Array, w: Array | None, b: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        """(x - mean) rstd w + b over the last axis (Ba et al., 2016).

        Parameters
        ----------
        x : (..., D)

        Returns
        -------
        y, mean, rstd : (..., D), (..., 1), (..., 1)
        """
        x_hat, mean, _, rstd = self._normalized(x, -1, eps)
        return self._scale(x_hat, w, b), mean, rstd

    def layer_norm_grad(
        self, gy: Array, x: Array, w: Array | None, mean: Array, rstd: Array
    ) -> tuple[Array, Array | None, Array | None]:
        """The gradients gx (..., D), gw (D,), gb (D,) of layer_norm; gw, gb None without w."""
        x_hat = self.multiply(self.subtract(x, mean), rstd)
        g = self._scale(gy, w, None)
        gx = self._normalized_grad(g, x_hat, rstd, -1)
        if w is None:
            return gx, None, None
        leading = tuple(range(x.ndim - 1))
        return gx, self.sum(self.multiply(gy, x_hat), leading), self.sum(gy, leading)

    def rms_norm(self, x: Array, w: Array | None, eps: float) -> tuple[Array, Array]:
        """x rstd w with rstd = 1 / sqrt(mean(x^2) + eps) (Zhang and Sennrich, 2019).

        x (..., D) -> y (..., D), rstd (..., 1).
        """
        x_hat, _, _, rstd = self._normalized(x, -1, eps, centred=False)
        return self._scale(x_hat, w, None), rstd

    def rms_norm_grad(
        self, gy: Array, x: Array, w: Array | None, rstd: Array
    ) -> tuple[Array, Array | None]:
        """gx = rstd (g - x_hat mean(g x_hat)) with x_hat = x rstd, g = gy w; gw (D,) or None."""
        x_hat = self.multiply(x, rstd)
        g = self._scale(gy, w, None)
        along = self.multiply(x_hat, self._mean(self.multiply(g, x_hat), -1))
        gx = self.multiply(rstd, self.subtract(g, along))
        if w is None:
            return gx, None
        return gx, self.sum(self.multiply(gy, x_hat), tuple(range(x.ndim - 1)))

    def batch_norm(
        self, x: Array, w: Array | None, b: Array | None, eps: float, axis: int
    ) -> tuple[Array, Array, Array, Array]:
        """(x - mean) rstd w + b for each channel, over all axes but ``axis``.

        Returns
        -------
        y, mean, var, rstd : x.shape, (C,), (C,), (C,)
            The variance is the biased one.
        """
        others, along = _channels(x, axis)
        x_hat, mean, var, rstd = self._normalized(x, others, eps)
        y = self._scale(x_hat, self._along(w, along), self._along(b, along))
        channels = (x.shape[axis],)
        flat_mean, flat_var, flat_rstd = (self.reshape(s, channels) for s in (mean, var, rstd))
        return y, flat_mean, flat_var, flat_rstd

    def batch_norm_grad(
        self, gy: Array, x: Array, w: Array | None, mean: Array, rstd: Array, axis: int
    ) -> tuple[Array, Array | None, Array | None]:
        """The gradients gx, gw (C,), gb (C,) of batch_norm; gw, gb None without w."""
        others, along = _channels(x, axis)
        scale = self.reshape(rstd, along)
        x_hat = self.multiply(self.subtract(x, self.reshape(mean, along)), scale)
        g = self._scale(gy, self._along(w, along), None)
        gx = self._normalized_grad(g, x_hat, scale, others)
        if w is None:
            return gx, None, None
        return gx, self.sum(self.multiply(gy, x_hat), others), self.sum(gy, others)

    def channel_affine(
        self, x: Array, mean: Array, scale: Array, bias: Array | None, axis: int
    ) -> Array:
        """(x - mean) scale + bias for each channel, with vectors (C,).

        The mean comes off first: as x scale + (bias - mean scale) it would take the digits along.
        """
        _, along = _channels(x, axis)
        centred = self.subtract(x, self.reshape(mean, along))
        return self._scale(centred, self.reshape(scale, along), self._along(bias, along))

    def _normalized(
        self, x: Array, axis: Axis, eps: float, centred: bool = True
    ) -> tuple[Array, Array, Array, Array]:
        """x_hat, mean, variance and rstd along ``axis``; mean 0 unless ``centred``."""
        found = self._statistics(x, axis, eps, centred)
        scale = scale_of(self, self.add(found[2], eps))
        if scale is None:
            return found
        # Down before the sum for the mean, which may overflow; up what is left beside the mean.
        down, up = self.minimum(scale, 1), self.maximum(scale, 1)
        relative = self.multiply(self.multiply(scale, eps), scale)
        x = self.multiply(x, down)
        x_hat, mean, var, rstd = self._statistics(x, axis, relative, centred, up)
        var = self.divide(self.divide(var, scale), scale)
        return x_hat, self.divide(mean, down), var, self.multiply(rstd, scale)

    def _statistics(
        self, x: Array, axis: Axis, eps: float | Array, centred: bool, up: Array | None = None
    ) -> tuple[Array, Array, Array, Array]:
        mean = self._mean(x, axis)
        if centred:
            x = self.subtract(x, mean)
        if up is not None:
            x = self.multiply(x, up)
        var = self._mean(self.square(x), axis)
        rstd = self.reciprocal(self.sqrt(self.add(var, eps)))
        return self.multiply(x, rstd), mean, var, rstd

    def _normalized_grad(self, g: Array, x_hat: Array, rstd: Array, axis: Axis) -> Array:
        along = self.multiply(x_hat, self._mean(self.multiply(g, x_hat), axis))
        return self.multiply(rstd, self.subtract(self.subtract(g, self._mean(g, axis)), along))

    def _mean(self, x: Array, axis: Axis) -> Array:
        axes = (axis,) if isinstance(axis, int) else axis or ()
        return self.divide(self.sum(x, axes, True), float(math.prod(x.shape[i] for i in axes)))

    def _scale(self, x: Array, w: Array | None, b: Array | None) -> Array:
        y = x if w is None else self.multiply(x, w)
        return y if b is None else self.add(y, b)

    def _along(self, w: Array | None, shape: Shape) -> Array | None:
        return None if w is None else self.reshape(w, shape)


def _channels(x: Array, axis: int) -> tuple[Shape, Shape]:
    """The axes that the statistics run over, and the shape of a channel vector beside x."""
    axis %= x.ndim
    others = tuple(i for i in range(x.ndim) if i != axis)
    return others, tuple(x.shape[i] if i == axis else 1 for i in range(x.ndim))
