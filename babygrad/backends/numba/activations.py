"""The activations and their gradients in one pass over the data."""

from __future__ import annotations

from babygrad.backends.aliases import Array
from babygrad.backends.numba.kernels import activation as kernels
from babygrad.backends.numba.layout import covers, covers_alike, elementwise
from babygrad.backends.numpy import NumpyBackend


class NumbaActivations(NumpyBackend):
    """Kernels for float32 and float64; the definitions for the rest."""

    def relu_grad(self, gy: Array, y: Array) -> Array:
        if not covers_alike(y, gy):
            return super().relu_grad(gy, y)
        return elementwise(kernels.relu_grad, gy, y)

    def sigmoid(self, x: Array) -> Array:
        return elementwise(kernels.sigmoid_all, x) if covers(x) else super().sigmoid(x)

    def sigmoid_grad(self, gy: Array, y: Array) -> Array:
        if not covers_alike(y, gy):
            return super().sigmoid_grad(gy, y)
        return elementwise(kernels.sigmoid_grad, gy, y)

    def tanh_grad(self, gy: Array, y: Array) -> Array:
        if not covers_alike(y, gy):
            return super().tanh_grad(gy, y)
        return elementwise(kernels.tanh_grad, gy, y)

    def softplus(self, x: Array) -> Array:
        return elementwise(kernels.softplus, x) if covers(x) else super().softplus(x)

    def softplus_grad(self, gy: Array, x: Array) -> Array:
        if not covers_alike(x, gy):
            return super().softplus_grad(gy, x)
        return elementwise(kernels.softplus_grad, gy, x)

    def silu(self, x: Array) -> Array:
        return elementwise(kernels.silu, x) if covers(x) else super().silu(x)

    def silu_grad(self, gy: Array, x: Array) -> Array:
        if not covers_alike(x, gy):
            return super().silu_grad(gy, x)
        return elementwise(kernels.silu_grad, gy, x)

    def gelu(self, x: Array, approximate: bool) -> Array:
        if not covers(x):
            return super().gelu(x, approximate)
        return elementwise(kernels.gelu_by_tanh if approximate else kernels.gelu, x)

    def gelu_grad(self, gy: Array, x: Array, approximate: bool) -> Array:
        if not covers_alike(x, gy):
            return super().gelu_grad(gy, x, approximate)
        return elementwise(kernels.gelu_by_tanh_grad if approximate else kernels.gelu_grad, gy, x)

    def elu(self, x: Array, alpha: float) -> Array:
        return elementwise(kernels.elu, x, float(alpha)) if covers(x) else super().elu(x, alpha)

    def elu_grad(self, gy: Array, x: Array, alpha: float) -> Array:
        if not covers_alike(x, gy):
            return super().elu_grad(gy, x, alpha)
        return elementwise(kernels.elu_grad, gy, x, float(alpha))

    def leaky_relu(self, x: Array, slope: float) -> Array:
        if not covers(x):
            return super().leaky_relu(x, slope)
        return elementwise(kernels.leaky_relu, x, float(slope))

    def leaky_relu_grad(self, gy: Array, x: Array, slope: float) -> Array:
        if not covers_alike(x, gy):
            return super().leaky_relu_grad(gy, x, slope)
        return elementwise(kernels.leaky_relu_grad, gy, x, float(slope))

    def rsqrt(self, x: Array) -> Array:
        return elementwise(kernels.rsqrt, x) if covers(x) else super().rsqrt(x)
