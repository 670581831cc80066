"""The operations of the grid in PyTorch, in both memory formats."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks._cases import Case

add, multiply, matmul = torch.add, torch.multiply, torch.matmul
exp, tanh, relu, gelu = torch.exp, torch.tanh, torch.relu, F.gelu
softmax, log_softmax = torch.softmax, torch.log_softmax
reduce_sum = torch.sum


def matmul_at(a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a.T, b)


def matmul_bt(a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b.T)


def reduce_max(x: Tensor, axis: Any) -> Tensor:
    return torch.amax(x, axis if axis is not None else ())


def reduce_var(x: Tensor, axis: Any) -> Tensor:
    return torch.var(x, axis, correction=0)


def layer_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w, b)


def batch_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, w, b, training=True)


def conv2d(x: Tensor, w: Tensor, **options: int) -> Tensor:
    return F.conv2d(x, w, None, **options)


def conv1d(x: Tensor, w: Tensor, padding: int = 0) -> Tensor:
    return F.conv1d(x, w, None, padding=padding)


def make_sgd(p: Tensor, g: Tensor, fused: bool) -> Callable[[], Tensor]:
    return _stepper(torch.optim.SGD([p], lr=0.01, momentum=0.9, fused=fused), p, g)


def make_adam(p: Tensor, g: Tensor, fused: bool) -> Callable[[], Tensor]:
    return _stepper(torch.optim.Adam([p], lr=0.001, fused=fused), p, g)


def _stepper(optimizer: Any, p: Tensor, g: Tensor) -> Callable[[], Tensor]:
    p.grad = g

    def run() -> Tensor:
        optimizer.step()
        return p

    return run


def build(case: Case, variant: str) -> Callable[[], Any]:
    """The call to time."""
    layout = torch.channels_last if variant.endswith("channels_last") else torch.contiguous_format
    tensors = {
        name: torch.from_numpy(array).contiguous(memory_format=layout if array.ndim == 4 else
                                                 torch.contiguous_format)
        for name, array in case.arrays().items()
    }  # fmt: skip
    g = tensors.pop("g", None) if case.wrt else None
    make = globals().get(f"make_{case.operation}")
    if make is not None:
        p, g = tensors.values()
        return make(p.requires_grad_(), g, variant.endswith("fused"))  # type: ignore[no-any-return]
    run = partial(globals()[case.operation], *tensors.values(), **case.options)
    if not case.wrt:
        return torch.no_grad()(run)
    inputs = [tensors[name].requires_grad_() for name in case.wrt]
    return partial(torch.autograd.grad, run(), inputs, g, retain_graph=True)


def prepare(case: Case, variant: str) -> tuple[Callable[[], Any], None]:
    run = build(case, variant)
    results = run()
    results = results if isinstance(results, tuple) else (results,)
    case.check(variant, [np.asarray(t.detach()) for t in results])
    return run, None
