"""Activations and their gradients: gy is the upstream gradient, x the input, y the output."""

from __future__ import annotations

import math

from babygrad.backends.aliases import Array
from babygrad.backends.required import Required

_TANH_FACTOR = math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715
# Where x is cut off before a factor meets it that is 0 by then, or 1 with a derivative of 0: the
# formulas have `inf * 0` beyond, or an overflow. Phi and the logistic function have reached their
# limits in float64.
_NORMAL_LIMIT = 40.0
_LOGISTIC_LIMIT = 800.0


class Activations(Required):
    """Elementwise; the result has the shape and dtype of x. NaN in, NaN out."""

    def chain_multiply(self, g: Array, derivative: Array) -> Array:
        """g times the derivative, and 0 where g is 0 even if the derivative is infinite or NaN."""
        return self.where(self.equal(g, 0), 0, self.multiply(g, derivative))

    def chain_divide(self, g: Array, divisor: Array) -> Array:
        """g / divisor, and 0 where g is 0 even if the divisor is."""
        return self.where(self.equal(g, 0), 0, self.divide(g, divisor))

    def relu(self, x: Array) -> Array:
        """max(x, 0)."""
        return self.maximum(x, 0)

    def relu_grad(self, gy: Array, y: Array) -> Array:
        """gy where y > 0 (or y is NaN), else 0."""
        return self.where(self.less_equal(y, 0), 0, gy)

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), by the form in which exp never overflows."""
        e = self.exp(self.negative(self.abs(x)))
        return self.divide(self.where(self.less(x, 0), e, 1), self.add(e, 1))

    def sigmoid_grad(self, gy: Array, y: Array) -> Array:
        """gy y (1 - y)."""
        return self.multiply(gy, self.multiply(y, self.subtract(1, y)))

    def tanh_grad(self, gy: Array, y: Array) -> Array:
        """gy (1 - y^2)."""
        return self.multiply(gy, self.subtract(1, self.square(y)))

    def softplus(self, x: Array) -> Array:
        """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
        e = self.exp(self.negative(self.abs(x)))
        return self.add(self.maximum(x, 0), self.log1p(e))

    def softplus_grad(self, gy: Array, x: Array) -> Array:
        """gy sigmoid(x)."""
        return self.multiply(gy, self.sigmoid(x))

    def silu(self, x: Array) -> Array:
        """x sigmoid(x) (Elfwing et al., 2018)."""
        return self.multiply(self.maximum(x, -_LOGISTIC_LIMIT), self.sigmoid(x))

    def silu_grad(self, gy: Array, x: Array) -> Array:
        """gy s (1 + x (1 - s)) with s = sigmoid(x)."""
        x = self.clip(x, -_LOGISTIC_LIMIT, _LOGISTIC_LIMIT)
        s = self.sigmoid(x)
        slope = self.multiply(s, self.add(self.multiply(x, self.subtract(1, s)), 1))
        return self.multiply(gy, slope)

    def gelu(self, x: Array, approximate: bool) -> Array:
        """x Phi(x) (Hendrycks and Gimpel, 2016); ``approximate`` takes their tanh form of Phi."""
        x = self.maximum(x, -_NORMAL_LIMIT)
        return self.multiply(x, self._normal_cdf(x, approximate))

    def gelu_grad(self, gy: Array, x: Array, approximate: bool) -> Array:
        """gy (Phi(x) + x Phi'(x)), for the form of Phi that ``gelu`` took."""
        x = self.clip(x, -_NORMAL_LIMIT, _NORMAL_LIMIT)
        cdf = self._normal_cdf(x, approximate)
        if approximate:
            # Phi = (1 + tanh u) / 2, so Phi' = (1 - tanh(u)^2) u' / 2 = 2 Phi (1 - Phi) u'.
            inner = self.multiply(self.square(x), 3 * _TANH_CUBIC * _TANH_FACTOR)
            inner = self.add(inner, _TANH_FACTOR)
            pdf = self.multiply(self.multiply(cdf, self.subtract(1, cdf)), self.multiply(inner, 2))
        else:
            pdf = self.exp(self.multiply(self.square(x), -0.5))
            pdf = self.multiply(pdf, 1 / math.sqrt(2 * math.pi))
        return self.multiply(gy, self.add(cdf, self.multiply(x, pdf)))

    def _normal_cdf(self, x: Array, approximate: bool) -> Array:
        """(1 + erf(x / sqrt 2)) / 2, or (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
        if approximate:
            cubic = self.add(self.multiply(self.square(x), _TANH_CUBIC), 1)
            bend = self.tanh(self.multiply(self.multiply(x, cubic), _TANH_FACTOR))
        else:
            bend = self.erf(self.multiply(x, math.sqrt(0.5)))
        return self.multiply(self.add(bend, 1), 0.5)

    def elu(self, x: Array, alpha: float) -> Array:
        """x above 0, alpha (exp(x) - 1) below (Clevert et al., 2015)."""
        below = self.multiply(self.expm1(self.minimum(x, 0)), alpha)
        return self.where(self.greater(x, 0), x, below)

    def elu_grad(self, gy: Array, x: Array, alpha: float) -> Array:
        """gy above 0, gy alpha exp(x) below."""
        slope = self.multiply(self.exp(self.minimum(x, 0)), alpha)
        return self.where(self.greater(x, 0), gy, self.multiply(gy, slope))

    def leaky_relu(self, x: Array, slope: float) -> Array:
        """x above 0, slope x elsewhere."""
        return self.where(self.greater(x, 0), x, self.multiply(x, slope))

    def leaky_relu_grad(self, gy: Array, x: Array, slope: float) -> Array:
        """gy where x > 0, slope gy elsewhere."""
        return self.where(self.greater(x, 0), gy, self.multiply(gy, slope))

    def rsqrt(self, x: Array) -> Array:
        """1 / sqrt(x); inf at 0, NaN below."""
        return self.reciprocal(self.sqrt(x))
