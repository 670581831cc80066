"""The operations of the grid in babygrad, through its public functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import babygrad
from babygrad import Tensor, ops, optim
from benchmarks._cases import Case

add, multiply, matmul = ops.add, ops.multiply, ops.matmul
exp, tanh, relu, gelu = ops.exp, ops.tanh, ops.relu, ops.gelu
softmax, log_softmax = ops.softmax, ops.logsoftmax
reduce_sum, reduce_max = ops.summation, ops.max
conv2d, conv1d = ops.conv2d, ops.conv1d


def matmul_at(a: Tensor, b: Tensor) -> Tensor:
    return ops.matmul(a.T, b)


def matmul_bt(a: Tensor, b: Tensor) -> Tensor:
    return ops.matmul(a, b.T)


def reduce_var(x: Tensor, axis: Any) -> Tensor:
    return ops.var(x, axis, correction=0)


def layer_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return ops.layer_norm(x, None, w, b)


def batch_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return ops.batch_norm(x, None, None, w, b, True)


def make_sgd(p: Tensor, g: Tensor) -> Callable[[], Tensor]:
    return _stepper(optim.SGD([p.requires_grad_()], lr=0.01, momentum=0.9), p, g)


def make_adam(p: Tensor, g: Tensor) -> Callable[[], Tensor]:
    return _stepper(optim.Adam([p.requires_grad_()], lr=0.001), p, g)


def _stepper(optimizer: Any, p: Tensor, g: Tensor) -> Callable[[], Tensor]:
    p.grad = g.data

    def run() -> Tensor:
        optimizer.step()
        return p

    return run


def build(case: Case, device: str) -> Callable[[], Any]:
    """The call to time. Images are NHWC in memory, as between two of babygrad's convolutions."""
    with babygrad.device(device):
        arrays = case.arrays()
        g = arrays.pop("g") if case.wrt else None
        tensors = {name: _tensor(name, array) for name, array in arrays.items()}
    make = globals().get(f"make_{case.operation}")
    if make is not None:
        return make(*tensors.values())  # type: ignore[no-any-return]
    run = partial(globals()[case.operation], *tensors.values(), **case.options)
    if not case.wrt:
        return babygrad.no_grad()(run)
    inputs = [tensors[name].requires_grad_() for name in case.wrt]
    with babygrad.device(device):
        upstream = _tensor("g", g)
    return partial(babygrad.grad, run(), inputs, upstream, retain_graph=True)


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.ndim == 4 and name != "w":
        array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return babygrad.from_numpy(array)  # the constructor would copy it, and forget its layout


def prepare(case: Case, variant: str, device: str) -> tuple[Callable[[], Any], None]:
    run = build(case, device)
    case.check(variant, [t.data for t in as_list(run())])
    return run, None


def as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]
