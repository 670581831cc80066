"""Normalization: `layer_norm`, `rms_norm`, `group_norm` and `batch_norm`.

All compute `(x - mean) / sqrt(variance + eps) * weight + bias` and differ in the elements that
share their statistics. The variance is the biased one and takes two passes: `E[x^2] - E[x]^2` would
lose everything where the mean is large.
"""

from __future__ import annotations

import math
from typing import Any

from babygrad.autograd import Function, NDArray, is_grad_enabled
from babygrad.ops._common import like, number, whole
from babygrad.ops._fused import Sizes, check_channels, counts_of, floats
from babygrad.ops.elementwise import rsqrt
from babygrad.tensor import Tensor, ones_like

Axes = tuple[int, ...]


class _Norm(Function):
    """Inputs x, w and b, of which w, or both, may be missing. The statistics are kept."""

    mean: NDArray
    rstd: NDArray
    uses = ("01", "01", "01")  # one kernel gives all gradients
    centred = True

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def fused(self, gy: NDArray, x: NDArray, w: NDArray | None) -> tuple[NDArray | None, ...]:
        """gx, gw and gb in one kernel."""
        raise NotImplementedError

    def axes(self, ndim: int) -> tuple[Axes, Axes]:
        """The axes that share statistics, and those along which w is repeated."""
        return (ndim - 1,), tuple(range(ndim - 1))

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        x, *affine = node._inputs
        w = affine[0] if affine else None
        found: tuple[Tensor | None, ...]
        if is_grad_enabled():
            found = self._composed(out_grad, x, w)
        else:
            arrays = self.fused(out_grad._data, x._data, None if w is None else w._data)
            found = tuple(None if a is None else like(a, out_grad) for a in arrays)
        return found[: len(node._inputs)]

    def _composed(self, gy: Tensor, x: Tensor, w: Tensor | None) -> tuple[Tensor, ...]:
        """Gx = rstd (g - mean(g) - x_hat mean(g x_hat)) with g = gy w (Ioffe and Szegedy, 2015)."""
        axes, others = self.axes(x.ndim)
        along = tuple(1 if i in others else n for i, n in enumerate(x.shape))
        # Relative to the forward pass's statistics, which are constants here, no sum overflows,
        # and no square does or vanishes.
        unit = _beside(self.rstd, x, along)
        if self.centred:
            moved = (x - _beside(self.mean, x, along)) * unit
            moved = moved - moved.mean(axes, keepdims=True)
        else:
            moved = x * unit
        relative = rsqrt((moved * moved).mean(axes, keepdims=True) + unit * self.eps * unit)
        x_hat, rstd = moved * relative, relative * unit
        g = gy if w is None else gy * w.reshape(along)
        gx = g - x_hat * (g * x_hat).mean(axes, keepdims=True)
        if self.centred:
            gx = gx - g.mean(axes, keepdims=True)
        return gx * rstd, (gy * x_hat).sum(others), gy.sum(others)


class LayerNorm(_Norm):
    """Over the last axis."""

    def forward(self, x: NDArray, w: NDArray | None = None, b: NDArray | None = None) -> NDArray:
        y, self.mean, self.rstd = self.xp.layer_norm(x, w, b, self.eps)
        return y

    def fused(self, gy: NDArray, x: NDArray, w: NDArray | None) -> tuple[NDArray | None, ...]:
        return self.xp.layer_norm_grad(gy, x, w, self.mean, self.rstd)


class RMSNorm(_Norm):
    """Over the last axis, without mean and bias."""

    centred = False

    def forward(self, x: NDArray, w: NDArray | None = None) -> NDArray:
        y, self.rstd = self.xp.rms_norm(x, w, self.eps)
        return y

    def fused(self, gy: NDArray, x: NDArray, w: NDArray | None) -> tuple[NDArray | None, ...]:
        return self.xp.rms_norm_grad(gy, x, w, self.rstd)


class BatchNorm(_Norm):
    """Over all axes but 1."""

    def axes(self, ndim: int) -> tuple[Axes, Axes]:
        others = tuple(i for i in range(ndim) if i != 1)
        return others, others

    def forward(self, x: NDArray, w: NDArray | None = None, b: NDArray | None = None) -> NDArray:
        y, self.mean, self.var, self.rstd = self.xp.batch_norm(x, w, b, self.eps, 1)
        return y

    def fused(self, gy: NDArray, x: NDArray, w: NDArray | None) -> tuple[NDArray | None, ...]:
        return self.xp.batch_norm_grad(gy, x, w, self.mean, self.rstd, 1)


class ChannelAffine(Function):
    """(x - mean) scale + bias for each channel of axis 1, from x, mean, scale and perhaps bias."""

    uses = ("2", "2", "01", "")

    def forward(
        self, x: NDArray, mean: NDArray, scale: NDArray, bias: NDArray | None = None
    ) -> NDArray:
        return self.xp.channel_affine(x, mean, scale, bias, 1)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        x, mean, scale, *bias = node._inputs
        along = (-1, *(1,) * (out_grad.ndim - 2))
        others = tuple(i for i in range(out_grad.ndim) if i != 1)
        gx = gm = gs = None
        # What no gradient reads is a node without values.
        if x.requires_grad or mean.requires_grad:
            scaled: Tensor = out_grad * scale.reshape(along)
            gx, gm = scaled, -scaled.sum(others) if mean.requires_grad else None
        if scale.requires_grad:
            gs = (out_grad * (x - mean.reshape(along))).sum(others)
        gb = [out_grad.sum(others) if b.requires_grad else None for b in bias]
        return gx, gm, gs, *gb


def layer_norm(
    x: Any,
    normalized_shape: Sizes | None = None,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each sample's last axes brought to mean 0 and variance 1 (Ba et al., 2016).

    Parameters
    ----------
    x : Tensor (..., *normalized_shape)
    normalized_shape : int or tuple of int, optional
        The sizes of the last axes, which are normalized over together; by default the last alone.
    weight, bias : Tensor of normalized_shape, optional

    Raises
    ------
    ValueError
        When x does not end in normalized_shape, or weight or bias has another shape.
    """
    number("layer_norm", "eps", eps)
    return _over_last("layer_norm", LayerNorm(eps), x, normalized_shape, weight, bias)


def rms_norm(
    x: Any, normalized_shape: Sizes | None = None, weight: Any = None, eps: float = 1e-6
) -> Tensor:
    """`x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich, 2019); see `layer_norm`."""
    number("rms_norm", "eps", eps)
    return _over_last("rms_norm", RMSNorm(eps), x, normalized_shape, weight, None)


def _over_last(
    op: str, norm: _Norm, x: Any, normalized_shape: Any, weight: Any, bias: Any
) -> Tensor:
    x, weight, bias = floats(op, x, weight, bias)
    if normalized_shape is None:
        normalized_shape = x.shape[-1:]
    shape = normalized_sizes(op, normalized_shape)
    if x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"{op}: x has shape {x.shape}; it must end in normalized_shape {shape}")
    for role, vector in (("weight", weight), ("bias", bias)):
        if vector is not None and vector.shape != shape:
            raise ValueError(
                f"{op}: {role} has shape {vector.shape}; it must be normalized_shape {shape}"
            )
    if len(shape) == 1:
        return _apply(norm, x, weight, bias)
    flat = (math.prod(shape),)
    rows = x.reshape((*x.shape[: -len(shape)], *flat))
    affine = (None if v is None else v.reshape(flat) for v in (weight, bias))
    return _apply(norm, rows, *affine).reshape(x.shape)


def normalized_sizes(op: str, normalized_shape: Any) -> tuple[int, ...]:
    """The sizes of the axes that are normalized over, of which there is one at least."""
    rank = len(normalized_shape) if isinstance(normalized_shape, tuple | list) else 1
    return counts_of(op, "normalized_shape", normalized_shape, max(rank, 1), 0)


def divides(op: str, num_groups: Any, channels: int) -> bool:
    """Whether so many channels can be split into groups of equal size."""
    count = whole(op, "num_groups", num_groups)
    return count >= 1 and channels % count == 0


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Each sample's groups of channels brought to mean 0 and variance 1 (Wu and He, 2018).

    Parameters
    ----------
    x : Tensor (N, C, ...)
    num_groups : int
        A divisor of C.
    weight, bias : Tensor (C,), optional
    """
    x, weight, bias = floats("group_norm", x, weight, bias)
    number("group_norm", "eps", eps)
    if x.ndim < 2 or not divides("group_norm", num_groups, x.shape[1]):
        raise ValueError(
            f"group_norm: x has shape {x.shape}; num_groups (={num_groups}) must divide its axis 1"
        )
    check_channels("group_norm", "weight", weight, x.shape[1])
    check_channels("group_norm", "bias", bias, x.shape[1])
    rows = x.reshape((x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups))
    return _affine(LayerNorm(eps)(rows).reshape(x.shape), weight, bias)


def batch_norm(
    x: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    unbiased: bool = False,
) -> Tensor:
    """Each channel brought to mean 0 and variance 1 over the batch (Ioffe and Szegedy, 2015).

    Parameters
    ----------
    x : Tensor (N, C, ...)
    running_mean, running_var : Tensor (C,), optional
        Moving averages. In training they are replaced by `(1 - momentum) * running + momentum *
        batch`; otherwise they take the place of the batch's statistics.
    weight, bias : Tensor (C,), optional
    training : bool
        Whether the statistics are those of the batch.
    unbiased : bool
        Whether running_var averages `sum / (n - 1)`, as in PyTorch, or `sum / n`, which is what
        the output is computed with, as in the book.

    Raises
    ------
    ValueError
        When a shape does not fit, there are no statistics to use, or a channel has a single value
        in training: its variance says nothing.
    """
    x, weight, bias = floats("batch_norm", x, weight, bias)
    number("batch_norm", "eps", eps)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: x has shape {x.shape}; it must be (N, C, ...)")
    channels = x.shape[1]
    for role, vector in (
        ("weight", weight),
        ("bias", bias),
        ("running_mean", running_mean),
        ("running_var", running_var),
    ):
        check_channels("batch_norm", role, vector, channels)
    if not training:
        return _with_running(x, running_mean, running_var, weight, bias, eps)
    count = x.size // channels if channels else 0
    if count < 2:
        raise ValueError(
            f"batch_norm: x of shape {x.shape} has {count} values for each channel; "
            "training needs at least 2"
        )
    norm = BatchNorm(eps)
    y = _apply(norm, x, weight, bias)
    correction = count / (count - 1) if unbiased else 1.0
    for running, batch in ((running_mean, norm.mean), (running_var, norm.var * correction)):
        if running is not None:
            _average(running, batch, momentum)
    return y


def _average(running: Tensor, batch: NDArray, momentum: float) -> None:
    if momentum is None:
        raise ValueError(
            "batch_norm: momentum (=None) must be a number; the average of all batches needs their "
            "count, which nn.BatchNorm1d(dim, momentum=None) keeps"
        )
    mixed = running._data * (1 - momentum) + batch * momentum
    running.data = mixed.astype(running.dtype)


def _with_running(
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Statistics that are given make the normalization one pass over x."""
    if mean is None or var is None:
        raise ValueError("batch_norm: training=False needs running_mean and running_var")
    scale = rsqrt(var + eps)
    scale = scale if weight is None else scale * weight
    vectors = [v for v in (mean, scale, bias) if v is not None]
    return ChannelAffine()(*floats("batch_norm", x, *vectors))


def _beside(statistic: NDArray, x: Tensor, along: tuple[int, ...]) -> Tensor:
    """Statistics as a tensor that broadcasts with x: channels by `along`, rows as they are."""
    tensor = like(statistic, x)
    return tensor if tensor.ndim == x.ndim else tensor.reshape(along)


def _apply(norm: _Norm, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is None and bias is not None:
        weight = ones_like(bias)
    return norm(*(v for v in (x, weight, bias) if v is not None))


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """`y * weight + bias` for each channel of axis 1."""
    along = (-1, *(1,) * (y.ndim - 2))
    y = y if weight is None else y * weight.reshape(along)
    return y if bias is None else y + bias.reshape(along)
