"""babygrad: a deep-learning library that reads like a book."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from babygrad import ops, random
from babygrad.anomaly import detect_anomaly
from babygrad.autograd import Function, enable_grad, is_grad_enabled, no_grad
from babygrad.checkpoint import checkpoint
from babygrad.device import device, get_default_device, set_default_device
from babygrad.engine import grad
from babygrad.gradcheck import gradcheck, gradgradcheck
from babygrad.ops._axes import AxisError
from babygrad.random import manual_seed
from babygrad.runtime import (
    empty_cache,
    get_num_threads,
    memory_stats,
    set_flush_denormal,
    set_num_threads,
    threads,
)
from babygrad.tensor import Tensor, from_dlpack, from_numpy, ones_like, zeros_like

if TYPE_CHECKING:
    from types import ModuleType

    from babygrad import data, func, init, nn, optim, testing, trainer

__version__ = "0.1.0"

# Imported when they are first looked at: whoever needs only tensors does not wait for the rest.
_LAZY = frozenset({"data", "func", "init", "nn", "optim", "testing", "trainer"})


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return import_module(f"babygrad.{name}")
    raise AttributeError(f"module 'babygrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "AxisError",
    "Function",
    "Tensor",
    "checkpoint",
    "data",
    "detect_anomaly",
    "device",
    "empty_cache",
    "enable_grad",
    "from_dlpack",
    "from_numpy",
    "func",
    "get_default_device",
    "get_num_threads",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "init",
    "is_grad_enabled",
    "manual_seed",
    "memory_stats",
    "nn",
    "no_grad",
    "ones_like",
    "ops",
    "optim",
    "random",
    "set_default_device",
    "set_flush_denormal",
    "set_num_threads",
    "testing",
    "threads",
    "trainer",
    "zeros_like",
]
