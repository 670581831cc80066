"""Optimizer steps, scatter and sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from babygrad.backends.aliases import Array, Arrays, Axis, Shape
from babygrad.backends.composed.optimizer import LARGEST
from babygrad.backends.numba.kernels import update as kernels
from babygrad.backends.numba.layout import contiguous, covers, covers_alike, memory_order
from babygrad.backends.numba.runtime import PARALLEL_FROM
from babygrad.backends.numpy import NumpyBackend


class NumbaUpdates(NumpyBackend):
    """Kernels for float32 and float64; the definitions for the rest."""

    def sgd_step(
        self,
        params: Arrays,
        grads: Arrays,
        buffers: Arrays,
        lr: float,
        momentum: float,
        weight_decay: float,
        nesterov: bool,
    ) -> None:
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            states = [buffers[i]] if momentum else []
            flat = _flat_in_place(p, g, *states)
            if flat is None:
                super().sgd_step([p], [g], states, lr, momentum, weight_decay, nesterov)
                continue
            v = flat[2] if momentum else np.empty(0, p.dtype)
            rates = (float(lr), float(momentum), float(weight_decay), bool(nesterov))
            kernels.sgd(p.size, flat[0], flat[1], v, *rates)

    def adam_step(
        self,
        params: Arrays,
        grads: Arrays,
        ms: Arrays,
        vs: Arrays,
        steps: Sequence[int],
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
    ) -> None:
        for p, g, m, v, t in zip(params, grads, ms, vs, steps, strict=True):
            flat = _flat_in_place(p, g, m, v)
            if flat is None:
                super().adam_step(
                    [p], [g], [m], [v], [t], lr, beta1, beta2, eps, weight_decay, decoupled
                )
                continue
            rate, root_scale = lr / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)
            shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
            largest = LARGEST[p.itemsize]
            limit = min(math.sqrt(largest) / math.sqrt(1 - beta2), largest)
            rates = (rate, beta1, beta2, root_scale, eps, decay, shrink, largest, limit)
            kernels.adam(p.size, *flat, *map(float, rates))

    def sum_of_squares(self, x: Array) -> Array:
        if not covers(x) or x.size < PARALLEL_FROM:
            return super().sum_of_squares(x)
        sums = np.empty(-(-x.size // PARALLEL_FROM))
        dense = np.asarray(x.transpose(memory_order(x)))
        kernels.squares(x.size, contiguous(dense).reshape(-1), sums)
        return np.asarray(sums.sum())

    def scatter_add(self, shape: Shape, indices: Array, src: Array, axis: int) -> Array:
        length = shape[axis]
        axis %= len(shape)
        expected = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
        if not (covers(src) and src.shape == expected and indices.dtype == np.int64):
            return super().scatter_add(shape, indices, src, axis)
        if indices.min() < -length or indices.max() >= length:
            raise IndexError(f"scatter_add: an index is outside [-{length}, {length})")
        out = np.zeros((math.prod(shape[:axis]), length, math.prod(shape[axis + 1 :])), src.dtype)
        flat = contiguous(src).reshape(out.shape[0], indices.size, out.shape[2])
        kernels.scatter_add(src.size, contiguous(indices).reshape(-1), flat, out)
        return out.reshape(shape)

    def sum(self, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        if not covers(x) or x.size < PARALLEL_FROM:
            return super().sum(x, axis, keepdims)
        every = tuple(range(x.ndim))
        axes = every if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
        order = memory_order(x)
        places = sorted(order.index(i) for i in axes)
        adjacent = places and places[-1] - places[0] == len(places) - 1
        if not (adjacent and x.transpose(order).flags.carray):
            return super().sum(x, axis, keepdims)
        lengths = [x.shape[i] for i in order]
        first, last = places[0], places[-1] + 1
        outer, middle, inner = (
            math.prod(part) for part in (lengths[:first], lengths[first:last], lengths[last:])
        )
        total = _middle_sums(x.transpose(order).reshape(outer, middle, inner)).astype(x.dtype)
        kept = [1 if i in axes else x.shape[i] for i in order]
        y = total.reshape(kept).transpose(tuple(np.argsort(order)))
        return y if keepdims else y.reshape([x.shape[i] for i in every if i not in axes])


def _middle_sums(x: Array) -> Array:
    """(A, L, B) -> (A, B) in float64, in blocks of a few thousand elements."""
    outer, middle, inner = x.shape
    blocks = -(-middle * inner // PARALLEL_FROM)
    if inner == 1:
        rows = np.empty((outer, blocks))
        kernels.row_sums(x.size, x.reshape(outer, middle), rows)
        return np.asarray(rows.sum(1))
    sums = np.zeros((outer, min(blocks, middle), inner))
    kernels.middle_sums(x.size, x, sums)
    return np.asarray(sums.sum(1))


def _flat_in_place(p: Array, g: Array, *states: Array) -> list[Array] | None:
    """All as vectors in p's memory order, g perhaps copied; None when that cannot be done."""
    if not covers_alike(p, g, *states):
        return None
    order = memory_order(p)
    written = [a.transpose(order) for a in (p, *states)]
    if not all(a.flags.carray for a in written):
        return None
    flat = [a.reshape(-1) for a in written]
    return [flat[0], contiguous(g.transpose(order)).reshape(-1), *flat[1:]]
