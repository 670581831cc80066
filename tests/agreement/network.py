"""Adapters for layers, convolutions, pools, normalizations, losses and attention."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from babygrad import Tensor, ops


def _softmax(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def adapter(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
        return function(x if dtype is None else x.astype("float64"), dim)

    return adapter


def _interpolate(
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """With `recompute_scale_factor` PyTorch takes only the size from the factor."""
    if recompute_scale_factor:
        size, scale_factor = tuple(math.floor(n * scale_factor) for n in x.shape[2:]), None
    return ops.interpolate(x, size, scale_factor, mode, bool(align_corners))


def _max_pool(x: Tensor, return_indices: bool = False, **settings: Any) -> Tensor:
    indices = {"return_indices": True} if return_indices else {}
    return ops.max_pool2d(x, **settings, **indices)


def _avg_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    divisor = {} if divisor_override is None else {"divisor_override": divisor_override}
    return ops.avg_pool2d(
        x, kernel_size, stride or None, padding, ceil_mode, count_include_pad, **divisor
    )


def _rms_norm(x: Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    return ops.rms_norm(x, shape, weight, sys.float_info.epsilon if eps is None else eps)


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **settings: Any,
) -> Tensor:
    return ops.scaled_dot_product_attention(
        q, k, v, attn_mask, is_causal, dropout=dropout_p, **settings
    )


ADAPTERS = {
    # ----- layers -----
    "nn.functional.linear": lambda x, weight, bias=None: ops.linear(x, weight.T, bias),
    "nn.functional.embedding": lambda weight, ids, **settings: ops.embedding(
        ids, weight, **settings
    ),
    "nn.functional.dropout": ops.dropout,
    "nn.functional.scaled_dot_product_attention": _attention,
    # ----- convolutions and pools -----
    "nn.functional.conv1d": ops.conv1d,
    "nn.functional.conv2d": ops.conv2d,
    "nn.functional.conv_transpose2d": ops.conv_transpose2d,
    "nn.functional.max_pool2d": _max_pool,
    "nn.functional.avg_pool2d": _avg_pool,
    "nn.functional.adaptive_avg_pool2d": ops.adaptive_avg_pool2d,
    "nn.functional.interpolate.nearest": _interpolate,
    "nn.functional.interpolate.bilinear": _interpolate,
    # ----- normalizations -----
    "softmax": _softmax(ops.softmax),
    "softmax.with_dtype": _softmax(ops.softmax),
    "log_softmax": _softmax(ops.log_softmax),
    "log_softmax.with_dtype": _softmax(ops.log_softmax),
    "nn.functional.layer_norm": ops.layer_norm,
    "nn.functional.group_norm": ops.group_norm,
    "nn.functional.batch_norm": ops.batch_norm,
    "nn.functional.rms_norm": _rms_norm,
    # ----- losses -----
    "nn.functional.cross_entropy": ops.cross_entropy,
    "nn.functional.nll_loss": ops.nll_loss,
    "nn.functional.mse_loss": ops.mse_loss,
    "nn.functional.l1_loss": ops.l1_loss,
    "nn.functional.huber_loss": ops.huber_loss,
    "nn.functional.binary_cross_entropy_with_logits": ops.bce_with_logits,
    "nn.functional.kl_div": ops.kl_div,
}
