"""Gradient clipping, between `backward()` and `step()`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from babygrad.dtypes import FLOAT16, FLOAT64
from babygrad.optim._checks import as_number
from babygrad.optim._norm import euclidean_norm
from babygrad.tensor import NDArray, Tensor

if TYPE_CHECKING:
    from babygrad.backends.base import Backend

# The smallest float32 with all its digits.
SMALLEST = 2.0**-126


def clip_grad_norm(
    params: Iterable[Tensor], max_norm: float, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients by one factor so that their joint Euclidean norm is at most `max_norm`.

    Parameters
    ----------
    params : iterable of Tensor
        Those without a gradient are left out.
    max_norm : float
        The largest norm to leave, not negative.
    error_if_nonfinite : bool
        Raise when the norm is infinite or NaN, before a gradient changes.

    Returns
    -------
    float
        The norm before clipping. When it is infinite or NaN the gradients are left as they are.

    Raises
    ------
    RuntimeError
        When the norm is not finite and `error_if_nonfinite` is set.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = babygrad.Tensor([3.0, 4.0])
    >>> babygrad.optim.clip_grad_norm([w], 1.0)
    5.0
    """
    _check_bound("clip_grad_norm", "max_norm", max_norm)
    graded = _with_gradients(params)
    norm = euclidean_norm([(p._device.backend, grad) for p, grad in graded])
    if not math.isfinite(norm):
        if error_if_nonfinite:
            raise RuntimeError(f"clip_grad_norm: the norm of the gradients is {norm}")
        return norm
    if norm > max_norm:
        # New arrays: two tensors may share one that a user assigned to both.
        for p, grad in graded:
            p.grad = _scaled(p._device.backend, grad, max_norm, norm)
    return norm


def clip_grad_value(params: Iterable[Tensor], max_value: float) -> None:
    """Limit every element of the gradients to [-max_value, max_value]; NaN stays NaN."""
    _check_bound("clip_grad_value", "max_value", max_value)
    for p, grad in _with_gradients(params):
        p.grad = p._device.backend.clip(grad, -max_value, max_value)


def _with_gradients(params: Iterable[Tensor]) -> list[tuple[Tensor, NDArray]]:
    """The parameters that have a gradient, with it, in the parameter's dtype."""
    listed = [params] if isinstance(params, Tensor) else params
    return [(p, _in_dtype_of(p, p.grad)) for p in listed if p.grad is not None]


def _in_dtype_of(p: Tensor, grad: NDArray) -> NDArray:
    return grad if grad.dtype is p.dtype else p._device.backend.astype(grad, p.dtype)


def _scaled(xp: Backend, grad: NDArray, max_norm: float, norm: float) -> NDArray:
    """grad * (max_norm / norm), also where the factor is too small for the gradient's dtype."""
    factor = max_norm / norm
    if factor >= SMALLEST and grad.dtype != FLOAT16:
        return xp.multiply(grad, factor)
    directions = xp.divide(xp.astype(grad, FLOAT64), norm)
    return xp.astype(xp.multiply(directions, max_norm), grad.dtype)


def _check_bound(op: str, name: str, value: float) -> None:
    bound = as_number(value)
    if bound is None or not bound >= 0:
        raise ValueError(f"{op}: {name} (={value!r}) must not be negative")
