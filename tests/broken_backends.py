"""Backends with one defect each, of the kinds that have bitten real libraries.

Not collected by itself: ``test_conformance.py`` runs the suite on them and expects it to fail.
"""

import numpy as np

from babygrad.backends.numpy import NumpyBackend
from babygrad.testing import BackendConformance


class RunningSum(NumpyBackend):
    caught_by = "test_sum_does_not_stall"

    def sum(self, x, axis=None, keepdims=False):
        if axis is None and x.size:
            return np.asarray(np.cumsum(np.ravel(x))[-1])
        return np.sum(x, axis, keepdims=keepdims)


class ReluDropsNan(NumpyBackend):
    caught_by = "test_unary_special"

    def relu(self, x):
        return np.fmax(x, x.dtype.type(0))


class MaxDropsNan(NumpyBackend):
    caught_by = "test_extremes_with_nan"

    def max(self, x, axis=None, keepdims=False):
        return np.asarray(np.fmax.reduce(x, axis, keepdims=keepdims))


class LastOfTies(NumpyBackend):
    caught_by = "test_first_of_ties"

    def argmax(self, x, axis=None, keepdims=False):
        return np.asarray(x.shape[1] - 1 - np.argmax(x[:, ::-1], 1))


class TailSkipped(NumpyBackend):
    caught_by = "test_unary"

    def exp(self, x):
        y = np.array(np.exp(x))
        y[..., y.shape[-1] // 4 * 4 :] = 0
        return y


class LowPrecision(NumpyBackend):
    caught_by = "test_unary"

    def exp(self, x):
        return np.exp(x) * x.dtype.type(1 + 20 * np.finfo(x.dtype).eps)


class StridesIgnored(NumpyBackend):
    caught_by = "test_unary"

    def negative(self, x):
        dense = np.empty(x.shape, x.dtype).strides
        return -np.lib.stride_tricks.as_strided(x, strides=dense) if x.base is not None else -x


class InputOverwritten(NumpyBackend):
    caught_by = "test_unary"

    def sigmoid(self, x):
        y = super().sigmoid(x)
        if x.flags.writeable:
            x[...] = y
        return y


class AnotherDtype(NumpyBackend):
    caught_by = "test_unary"

    def tanh(self, x):
        return np.tanh(x, dtype="float64")


class OnePassVariance(NumpyBackend):
    caught_by = "test_variance_takes_two_passes"

    def layer_norm(self, x, w, b, eps):
        mean = x.mean(-1, keepdims=True)
        rstd = 1 / np.sqrt((x * x).mean(-1, keepdims=True) - mean**2 + x.dtype.type(eps))
        return (x - mean) * rstd, mean, rstd


class SoftmaxWithoutShift(NumpyBackend):
    caught_by = "test_softmax_extremes"

    def softmax(self, x, axis):
        with np.errstate(all="ignore"):
            return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


class IndexNotChecked(NumpyBackend):
    caught_by = "test_take"

    def take(self, x, indices, axis):
        return np.take(x, indices, axis, mode="clip")


class RepeatedIndexLost(NumpyBackend):
    caught_by = "test_index_add"

    def index_add(self, shape, index, src):
        return self.setitem(np.zeros(shape, src.dtype), index, src)


class DivisionTruncates(NumpyBackend):
    caught_by = "test_python_division"

    def floor_divide(self, x, y):
        return np.trunc(np.true_divide(x, y)).astype(np.asarray(x).dtype)


class ImageShifted(NumpyBackend):
    caught_by = "test_conv2d"

    def conv2d(self, x, *others):
        return super().conv2d(np.roll(x, 1, 1), *others)


class PaddingWins(NumpyBackend):
    caught_by = "test_max_pool2d"

    def max_pool2d(self, x, *others):
        y, index = super().max_pool2d(x, *others)
        return np.maximum(y, 0), index


class NoBiasCorrection(NumpyBackend):
    caught_by = "test_first_adam_step"

    def adam_step(self, params, grads, ms, vs, steps, *rates):
        super().adam_step(params, grads, ms, vs, [9999] * len(params), *rates)


class MaskedRowAverages(NumpyBackend):
    caught_by = "test_attention"

    def _probabilities(self, scores, lse):
        return self.softmax(np.maximum(scores, -1e9), -1)


class FeaturesBeforeHeads(NumpyBackend):
    caught_by = "test_self_attention"

    def _heads(self, x, heads):
        batch, length, width = x.shape
        return self.permute_dims(x.reshape(batch, length, width // heads, heads), (0, 3, 1, 2))


BROKEN = {
    name: backend
    for name, backend in list(globals().items())
    if isinstance(backend, type) and hasattr(backend, "caught_by")
}
for _name, _backend in BROKEN.items():
    globals()[f"Test{_name}"] = type(f"Test{_name}", (BackendConformance,), {"backend": _backend()})
