"""Gradient clipping, between `backward()` and `step()`."""

from __future__ import annotations

import math
from collections.abc import Iterable

from babygrad.tensor import NDArray, Tensor


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
    squares = [float(p._device.backend.sum_of_squares(grad)) for p, grad in graded]
    norm = math.sqrt(sum(squares))
    if not math.isfinite(norm):
        if error_if_nonfinite:
            raise RuntimeError(f"clip_grad_norm: the norm of the gradients is {norm}")
        return norm
    if norm > max_norm:
        # New arrays: two tensors may share one that a user assigned to both.
        for p, grad in graded:
            p.grad = p._device.backend.multiply(grad, max_norm / norm)
    return norm


def clip_grad_value(params: Iterable[Tensor], max_value: float) -> None:
    """Limit every element of the gradients to [-max_value, max_value]; NaN stays NaN."""
    _check_bound("clip_grad_value", "max_value", max_value)
    for p, grad in _with_gradients(params):
        p.grad = p._device.backend.clip(grad, -max_value, max_value)


def _with_gradients(params: Iterable[Tensor]) -> list[tuple[Tensor, NDArray]]:
    listed = [params] if isinstance(params, Tensor) else params
    return [(p, p.grad) for p in listed if p.grad is not None]


def _check_bound(op: str, name: str, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{op}: {name} (={value!r}) must not be negative")
