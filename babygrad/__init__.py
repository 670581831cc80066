"""babygrad: a deep-learning library that reads like a book."""

from babygrad import func, ops, random
from babygrad.anomaly import detect_anomaly
from babygrad.autograd import Function, enable_grad, is_grad_enabled, no_grad
from babygrad.checkpoint import checkpoint
from babygrad.device import device, get_default_device, set_default_device
from babygrad.engine import grad
from babygrad.gradcheck import gradcheck, gradgradcheck
from babygrad.random import manual_seed
from babygrad.tensor import Tensor, from_dlpack, from_numpy, ones_like, tensor, zeros_like

__version__ = "0.1.0"

__all__ = [
    "Function",
    "Tensor",
    "checkpoint",
    "detect_anomaly",
    "device",
    "enable_grad",
    "from_dlpack",
    "from_numpy",
    "func",
    "get_default_device",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "manual_seed",
    "no_grad",
    "ones_like",
    "ops",
    "random",
    "set_default_device",
    "tensor",
    "zeros_like",
]
