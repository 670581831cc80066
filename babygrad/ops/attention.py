"""Scaled dot-product attention (Vaswani et al., 2017)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from babygrad.autograd import Function, NDArray, is_grad_enabled
from babygrad.ops._common import broadcast_shape, lifted, like
from babygrad.ops._fused import floats
from babygrad.ops.dropout import check_probability
from babygrad.ops.dropout import dropout as drop
from babygrad.ops.elementwise import exp, where
from babygrad.ops.linalg import matmul
from babygrad.ops.reduction import logsumexp
from babygrad.ops.shape import broadcast_to
from babygrad.tensor import Tensor

if TYPE_CHECKING:
    from babygrad.random import Generator


class Attention(Function):
    """q (B, H, L, D), k (B, H, S, D), v (B, H, S, E) -> (B, H, L, E), without the (L, S) scores."""

    uses = ("012y", "012y", "012y")

    def __init__(self, mask: Tensor | None, causal: bool, scale: float) -> None:
        self.mask = mask
        self.causal = causal
        self.scale = scale

    def _settings(self) -> tuple[NDArray | None, bool, float]:
        return None if self.mask is None else self.mask._data, self.causal, self.scale

    def forward(self, q: NDArray, k: NDArray, v: NDArray) -> NDArray:
        y, self.lse = self.xp.attention(q, k, v, *self._settings())
        return y

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor, ...]:
        q, k, v = node._inputs
        if not is_grad_enabled():
            mask, causal, scale = self._settings()
            found = self.xp.attention_grad(
                out_grad._data, q._data, k._data, v._data, node._data, self.lse, mask, causal, scale
            )
            return tuple(like(array, out_grad) for array in found)
        p = _probabilities(q, k, self.mask, self.causal, self.scale)
        inner = (out_grad * node).sum(-1, keepdims=True)
        gs = p * (matmul(out_grad, v.transpose()) - inner) * self.scale
        return matmul(gs, k), matmul(gs.transpose(), q), matmul(p.transpose(), out_grad)


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """`softmax(scale q k^T + mask) v`: each query's mean of the values, weighted by the keys.

    Parameters
    ----------
    q : Tensor (..., L, D)
    k : Tensor (..., S, D)
    v : Tensor (..., S, E)
        The leading axes of the three broadcast.
    mask : Tensor, optional
        Broadcastable to (..., L, S). Of booleans, True takes part; floats are added to the scores.
    causal : bool
        Position i sees only positions j <= i.
    scale : float, optional
        1 / sqrt(D) by default.
    dropout : float in [0, 1]
        The probability with which a weight of the mean is dropped, as by `dropout`. The weights,
        (..., L, S), are in memory then, which they are not otherwise.
    generator : numpy Generator, optional
        Where the mask of `dropout` comes from.

    Returns
    -------
    Tensor (..., L, E)
        0, with gradients of 0, in a row that sees nothing.

    Raises
    ------
    ValueError
        When the shapes do not fit.
    """
    op = "scaled_dot_product_attention"
    q, k, v = floats(op, q, k, v)
    check_probability(op, "dropout", dropout)
    lead = _leading_axes(op, q, k, v)
    if scale is None:
        scale = 1 / math.sqrt(max(q.shape[-1], 1))
    scores_shape = (*lead, q.shape[-2], k.shape[-2])
    if mask is not None:
        mask = _checked_mask(op, mask, scores_shape, q)
    if dropout or (mask is not None and mask.requires_grad):
        # The fused kernels have neither dropout nor a gradient of the mask.
        p = _probabilities(q, k, mask, causal, scale)
        return matmul(drop(p, dropout, True, generator), v)
    q, k, v = (_four_axes(x, (*lead, *x.shape[-2:])) for x in (q, k, v))
    if mask is not None:
        mask = _four_axes(mask, scores_shape)
    y = Attention(mask, causal, float(scale))(q, k, v)
    return y if len(lead) == 2 else y.reshape((*lead, *y.shape[-2:]))


def _leading_axes(op: str, q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    """The axes before the last two that the operands broadcast to, when their shapes fit."""
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"{op}: q has shape {q.shape}, k {k.shape} and v {v.shape}; "
            "they must be (..., L, D), (..., S, D) and (..., S, E)"
        )
    lead = q.shape[:-2]
    for x in (k, v):
        lead = broadcast_shape(f"{op}, leading axes", lead, x.shape[:-2])
    return lead


def _four_axes(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Broadcast to `shape`, then (B, H, L, D) by axes of 1 in front or by joining the first."""
    if x.shape != shape:
        x = broadcast_to(x, shape)
    if x.ndim == 4:
        return x
    missing = (1,) * (4 - x.ndim)
    return x.reshape((*missing, *shape) if missing else (math.prod(shape[:-3]), *shape[-3:]))


def _checked_mask(op: str, mask: Any, shape: tuple[int, ...], beside: Tensor) -> Tensor:
    tensor = lifted(op, mask, beside)
    if tensor.dtype.kind not in "bf":
        raise TypeError(f"{op}: mask has dtype {tensor.dtype}; it must be boolean or floating")
    if tensor.ndim > len(shape) or broadcast_shape(op, tensor.shape, shape) != shape:
        raise ValueError(f"{op}: mask of shape {tensor.shape} does not broadcast to {shape}")
    return tensor if tensor.dtype.kind == "b" else tensor.astype(beside.dtype)


def _probabilities(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """softmax(scale q k^T + mask), 0 in rows that see nothing."""
    scores = matmul(q, k.transpose()) * scale
    if mask is not None:
        visible = mask.dtype.kind == "b"
        scores = where(mask, scores, -math.inf) if visible else scores + mask
    if causal:
        xp = scores._device.backend
        triangle = xp.tril(xp.ones(scores.shape[-2:], "bool"), 0)
        scores = where(like(triangle, scores), scores, -math.inf)
    lse = logsumexp(scores, -1, keepdims=True)
    return exp(scores - where(lse == -math.inf, 0.0, lse))
