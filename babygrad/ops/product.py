"""The product of many values, whose gradient is that of each one's others.

A module of its own beside the other reductions, because the tree of pairs joins tensors.
"""

from __future__ import annotations

import math
from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.dtypes import FLOAT64
from babygrad.ops._axes import Axes, reduced
from babygrad.ops._common import like
from babygrad.ops.joining import concatenate, stack
from babygrad.ops.shape import broadcast_to, flip, permute, reshape, unsqueeze, with_ones
from babygrad.tensor import Tensor


class Prod(Function):
    """The product along the last axis."""

    uses = ("0y",)

    def forward(self, a: NDArray) -> NDArray:
        return self.xp.prod(a, -1)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        a: Tensor = node._inputs[0]
        xp, magnitudes = self.xp, self.xp.abs(node._data)
        plain = xp.logical_and(xp.less(1e-30, magnitudes), xp.less(magnitudes, math.inf))
        out_grad = unsqueeze(out_grad, -1)
        if xp.all(plain):
            return out_grad * unsqueeze(node, -1) / a
        # A product that is 0, infinite or NaN does not tell what that of the others is.
        wide = a if a.dtype == FLOAT64 else a.astype(FLOAT64)
        return _product(broadcast_to(out_grad, a.shape), _others(wide).astype(a.dtype))


def _others(a: Tensor) -> Tensor:
    """For each element along the last axis the product of all others, by the tree of pairs.

    An element's others are its neighbour and the others of the pair.
    """
    n, xp = a.shape[-1], a._device.backend
    if n < 2:
        return like(xp.ones(a.shape, a.dtype), a)
    if n % 2:
        a = concatenate([a, like(xp.ones((*a.shape[:-1], 1), a.dtype), a)], -1)
    pairs = reshape(a, (*a.shape[:-1], (n + 1) // 2, 2))
    rest = broadcast_to(unsqueeze(_others(Prod()(pairs)), -1), pairs.shape)
    others = reshape(_product(rest, flip(pairs, -1)), a.shape)
    return others if n % 2 == 0 else others[..., :n]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """`a * b` where it may overflow: without a warning of numpy's."""
    result: Tensor = Prod()(stack([a, b], -1))
    return result


def prod(
    a: Any, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **other: Any
) -> Tensor:
    """The product over some or all axes, of integers and bools in int64, of uint64 in itself.

    The gradient of a factor is the product of the others, also where factors are 0.
    """
    a, over = reduced("prod", a, axes, axis, other)
    kept = tuple(i for i in range(a.ndim) if i not in over)
    last = permute(a, kept + over)
    shape = tuple(a.shape[i] for i in kept)
    result = Prod()(reshape(last, (*shape, math.prod(a.shape[i] for i in over))))
    return reshape(result, with_ones(a.shape, over)) if keepdims else result
