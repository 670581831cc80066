"""Operations on tensors, each a Function with its gradient and a function that calls it."""

from babygrad.ops import methods  # noqa: F401 - gives Tensor its operators
from babygrad.ops.arithmetic import (
    add,
    add_scalar,
    divide,
    divide_scalar,
    mul_scalar,
    multiply,
    negate,
    subtract,
)
from babygrad.ops.reduction import summation
from babygrad.ops.shape import astype, broadcast_to, permute, reshape, transpose

__all__ = [
    "add",
    "add_scalar",
    "astype",
    "broadcast_to",
    "divide",
    "divide_scalar",
    "mul_scalar",
    "multiply",
    "negate",
    "permute",
    "reshape",
    "subtract",
    "summation",
    "transpose",
]
