"""Adapters for arithmetic, comparisons, elementwise functions and activations."""

from __future__ import annotations

from typing import Any

from babygrad import Tensor, ops


def _plus(a: Any, b: Any, alpha: Any = 1) -> Tensor:
    return a + b if alpha == 1 else a + b * alpha


def _minus(a: Any, b: Any, alpha: Any = 1) -> Tensor:
    return a - b if alpha == 1 else a - b * alpha


def _divide(a: Any, b: Any, rounding_mode: str | None = None) -> Tensor:
    return ops.floor_divide(a, b) if rounding_mode == "floor" else ops.divide(a, b)


# fmt: off
SAME_NAME = """
    abs ceil cos cosh erf exp expm1 floor isfinite isinf isnan log log1p log2 logical_and
    logical_not logical_or logical_xor maximum minimum reciprocal round rsqrt sigmoid sign sin sinh
    sqrt square tan tanh
"""
# fmt: on

ADAPTERS = {name: getattr(ops, name) for name in SAME_NAME.split()} | {
    # ----- arithmetic -----
    "add": _plus,
    "sub": _minus,
    "rsub": lambda a, b, alpha=1: _minus(b, a, alpha),
    "mul": ops.multiply,
    "div.no_rounding_mode": _divide,
    "div.floor_rounding": _divide,
    "true_divide": ops.divide,
    "floor_divide": ops.floor_divide,
    "remainder": ops.remainder,
    "pow": ops.power,
    "neg": ops.negate,
    "__radd__": Tensor.__radd__,
    "__rsub__": Tensor.__rsub__,
    "__rmul__": Tensor.__rmul__,
    "__rdiv__": Tensor.__rtruediv__,
    "__rmod__": Tensor.__rmod__,
    "__rpow__": Tensor.__rpow__,
    # ----- comparisons and choices -----
    "eq": ops.equal,
    "ne": ops.not_equal,
    "lt": ops.less,
    "le": ops.less_equal,
    "gt": ops.greater,
    "ge": ops.greater_equal,
    "clamp": ops.clip,
    "clamp_min": lambda x, low: ops.clip(x, low, None),
    "clamp_max": lambda x, high: ops.clip(x, None, high),
    "max.binary": ops.maximum,
    "min.binary": ops.minimum,
    "where": lambda a, condition, b: ops.where(condition, a, b),
    "round.decimals_0": ops.round,
    "round.decimals_3": ops.round,
    "round.decimals_neg_3": ops.round,
    # ----- activations -----
    "nn.functional.elu": ops.elu,
    "nn.functional.gelu": ops.gelu,
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: ops.hardtanh(
        x, min_val, max_val
    ),
    "nn.functional.leaky_relu": ops.leaky_relu,
    "nn.functional.logsigmoid": lambda x: -ops.softplus(-x),
    "nn.functional.relu": ops.relu,
    "nn.functional.relu6": lambda x: ops.hardtanh(x, 0.0, 6.0),
    "nn.functional.silu": ops.silu,
    "nn.functional.softplus": ops.softplus,
}
