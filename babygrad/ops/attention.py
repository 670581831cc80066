"""Scaled dot-product attention, and that of a sequence to itself (Vaswani et al., 2017)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from babygrad.autograd import Function, NDArray, is_grad_enabled
from babygrad.ops._common import broadcast_shape, lifted, like, whole
from babygrad.ops._fused import floats
from babygrad.ops._settings import check_probability
from babygrad.ops.dropout import dropout as drop
from babygrad.ops.elementwise import exp, where
from babygrad.ops.joining import concatenate, split
from babygrad.ops.linalg import matmul
from babygrad.ops.reduction import logsumexp
from babygrad.ops.shape import broadcast_to
from babygrad.tensor import Tensor

if TYPE_CHECKING:
    from babygrad.random import Generator


class Attention(Function):
    """q (B, H, L, D), k (B, H, S, D), v (B, H, S, E) -> (B, H, L, E), without the (L, S) scores."""

    uses: ClassVar[tuple[str, ...]] = ("012y", "012y", "012y")

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
        return self._recorded_backward(out_grad, node, q, k, v)

    def _recorded_backward(
        self, out_grad: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor
    ) -> tuple[Tensor, ...]:
        p = _probabilities(q, k, self.mask, self.causal, self.scale)
        inner = (out_grad * y).sum(-1, keepdims=True)
        gs = p * (matmul(out_grad, v.transpose()) - inner) * self.scale
        return matmul(gs, k), matmul(gs.transpose(), q), matmul(p.transpose(), out_grad)


class SelfAttention(Attention):
    """q, k and v beside each other (B, L, 3 E) -> (B, L, E): one array in and one gradient out."""

    uses = ("0y",)

    def __init__(self, heads: int, mask: Tensor | None, causal: bool, scale: float) -> None:
        super().__init__(mask, causal, scale)
        self.heads = heads

    def forward(self, qkv: NDArray) -> NDArray:  # type: ignore[override]
        y, self.lse = self.xp.self_attention(qkv, self.heads, *self._settings())
        return y

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:  # type: ignore[override]
        (qkv,) = node._inputs
        if not is_grad_enabled():
            found = self.xp.self_attention_grad(
                out_grad._data, qkv._data, node._data, self.lse, self.heads, *self._settings()
            )
            return like(found, out_grad)
        parts = (split_heads(x, self.heads) for x in (out_grad, node, *split_three(qkv)))
        return concatenate([join_heads(g) for g in self._recorded_backward(*parts)], -1)


def split_three(x: Tensor) -> tuple[Tensor, ...]:
    """(B, L, 3 E) -> three (B, L, E)."""
    return split(x, x.shape[-1] // 3, -1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, E) -> (B, heads, L, E / heads), a view."""
    return x.reshape((*x.shape[:2], heads, x.shape[2] // heads)).transpose((1, 2))


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, L, D) -> (B, L, heads D)."""
    batch, heads, length, size = x.shape
    return x.transpose((1, 2)).reshape((batch, length, heads * size))


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    generator: Generator | None = None,
    *,
    attn_mask: Any = None,
    is_causal: bool = False,
) -> Tensor:
    """`softmax(scale q k^T + mask) v`: each query's mean of the values, weighted by the keys.

    Parameters
    ----------
    q : Tensor (..., L, D)
    k : Tensor (..., S, D)
    v : Tensor (..., S, E)
        The leading axes of the three broadcast.
    mask, attn_mask : Tensor, optional
        Broadcastable to (..., L, S). Of booleans, True takes part; floats are added to the scores.
        `attn_mask` is PyTorch's name for it.
    causal, is_causal : bool
        Position i sees only positions j <= i. `is_causal` is PyTorch's name for it.
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
        0, with gradients of 0, in a row that sees nothing, as all do where there are no keys.

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit, or the mask does not.
    """
    op = "scaled_dot_product_attention"
    mask, causal = _either_mask(op, mask, attn_mask), causal or is_causal
    q, k, v = floats(op, q, k, v, needed=3)
    check_probability(op, "dropout", dropout)
    lead = _leading_axes(op, q, k, v)
    scale = _default_scale(q.shape[-1]) if scale is None else scale
    scores_shape = (*lead, q.shape[-2], k.shape[-2])
    mask = None if mask is None else _checked_mask(op, mask, scores_shape, q)
    if dropout or (mask is not None and mask.requires_grad):
        # The fused kernels have neither dropout nor a gradient of the mask.
        p = _probabilities(q, k, mask, causal, scale)
        return matmul(drop(p, dropout, True, generator), v)
    q, k, v = (_four_axes(x, (*lead, *x.shape[-2:])) for x in (q, k, v))
    mask = None if mask is None else _four_axes(mask, scores_shape)
    y = Attention(mask, causal, float(scale))(q, k, v)
    return y if len(lead) == 2 else y.reshape((*lead, *y.shape[-2:]))


def self_attention(
    qkv: Any,
    num_heads: int,
    mask: Any = None,
    causal: bool = False,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """Attention of a sequence to itself by several heads, from one projection to q, k and v.

    The same as `scaled_dot_product_attention` of the parts of qkv, head h taking the features from
    h E / num_heads on of each; but the gradient is one array from the start, not put together.

    Parameters
    ----------
    qkv : Tensor (N, L, 3 E)
        Queries, keys and values beside each other.
    num_heads : int
        Divides E.
    mask, causal, dropout, generator
        As there; the mask broadcasts to (N, num_heads, L, L).

    Returns
    -------
    Tensor (N, L, E)

    Raises
    ------
    ValueError
        When the shapes do not fit.

    Examples
    --------
    >>> from babygrad import Tensor, ops
    >>> ops.self_attention(Tensor.ones(2, 5, 24), num_heads=4).shape
    (2, 5, 8)
    """
    op = "self_attention"
    (qkv,) = floats(op, qkv)
    heads = whole(op, "num_heads", num_heads)
    check_probability(op, "dropout", dropout)
    if qkv.ndim != 3 or heads < 1 or qkv.shape[2] % (3 * heads) != 0:
        raise ValueError(
            f"{op}: qkv has shape {qkv.shape} and num_heads is {num_heads}; "
            "it must be (N, L, 3 E), and num_heads divide E"
        )
    batch, length, width = qkv.shape
    if mask is not None:
        mask = _checked_mask(op, mask, (batch, heads, length, length), qkv)
    if dropout or (mask is not None and mask.requires_grad):
        q, k, v = (split_heads(x, heads) for x in split_three(qkv))
        y = scaled_dot_product_attention(
            q, k, v, mask, causal, dropout=dropout, generator=generator
        )
        return join_heads(y)
    if mask is not None:
        mask = _four_axes(mask, (batch, heads, length, length))
    return SelfAttention(heads, mask, causal, _default_scale(width // 3 // heads))(qkv)


def _either_mask(op: str, mask: Any, attn_mask: Any) -> Any:
    """The mask under the name that it was given by."""
    if mask is not None and attn_mask is not None:
        raise TypeError(f"{op}: give mask or attn_mask, which are two names for one argument")
    return attn_mask if mask is None else mask


def _default_scale(size: int) -> float:
    return 1 / math.sqrt(max(size, 1))


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
    if scores.shape[-1] == 0:
        return scores
    lse = logsumexp(scores, -1, keepdims=True)
    return exp(scores - where(lse == -math.inf, 0.0, lse))
