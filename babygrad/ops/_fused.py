"""What the neural-network operations share: operands of one floating type, sizes by axis."""

from __future__ import annotations

from typing import Any

from babygrad.autograd import NDArray, is_grad_enabled
from babygrad.dtypes import FLOAT16, FLOAT32
from babygrad.ops._common import Member, floating, lifted, like, promoted
from babygrad.tensor import Tensor

Sizes = int | tuple[int, ...] | list[int]


class Fused(Member):
    """y = f(x): the gradient reads y where f can be differentiated from its result, else x."""

    def forward(self, a: NDArray) -> NDArray:  # type: ignore[override]
        result: NDArray = getattr(self.xp, self.member)(a, *self.settings)
        return result

    def composed(self, gy: Tensor, saved: Tensor, *settings: Any) -> Tensor:
        """The gradient in operations that can be differentiated."""
        raise NotImplementedError

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        saved = node if self.uses == ("y",) else node._inputs[0]
        if is_grad_enabled():
            return self.composed(out_grad, saved, *self.settings)
        fused = getattr(self.xp, self.member + "_grad")
        return like(fused(out_grad._data, saved._data, *self.settings), out_grad)


def real(op: str, a: Any) -> Tensor:
    """The only operand of a fused kernel as float32 or float64; see `floats`."""
    x = floating(op, a)
    return x.astype(FLOAT32) if x._data.dtype is FLOAT16 else x


def unstored(op: str, a: Any) -> Tensor:
    """The only operand of what has results of every type, but for float16: see `floats`."""
    x = lifted(op, a)
    return x.astype(FLOAT32) if x._data.dtype is FLOAT16 else x


def floats(op: str, *operands: Any, needed: int = 1) -> list[Any]:
    """The operands as Tensors of one type, float32 or float64; an operand that is None stays None.

    Fused kernels take arrays of one type. float16 is for storage, and computed with in float32.

    Raises
    ------
    TypeError
        When one of the first is None, those that are `needed`.
    """
    given = [a for a in operands if a is not None]
    complete = len(given) == len(operands)
    if not complete and any(a is None for a in operands[:needed]):
        raise TypeError(f"{op}: an operand is a NoneType, not a tensor or number")
    tensors: list[Any] = promoted(op, *given)
    if tensors[0]._data.dtype.kind != "f":
        tensors = [t.astype(FLOAT32) for t in tensors]
    if complete:
        return tensors
    remaining = iter(tensors)
    return [None if a is None else next(remaining) for a in operands]


def counts_of(op: str, role: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
    """`rank` integers from one integer or a sequence, each at least `least`.

    Raises
    ------
    ValueError
        When there are more or fewer, or one is no integer or too small.
    """
    if value.__class__ is int and value >= least:
        return (value,) * rank
    given = tuple(value) if isinstance(value, tuple | list) else (value,)
    try:
        if bool in map(type, given):
            raise TypeError
        sizes = tuple(int(n.__index__()) for n in given) * (rank if len(given) == 1 else 1)
    except (AttributeError, TypeError):  # bools, no integers, or arrays of several
        sizes = ()
    if len(sizes) != rank or min(sizes, default=least) < least:
        raise ValueError(
            f"{op}: {role} (={value!r}) must be an integer of at least {least}, or {rank} of them"
        )
    return sizes


def pair_of(op: str, role: str, value: Any, least: int = 1) -> tuple[int, int]:
    """Two integers, for rows and columns, from one or two; see `counts_of`."""
    rows, columns = counts_of(op, role, value, 2, least)
    return rows, columns


def check_channels(op: str, role: str, vector: Tensor | NDArray | None, channels: int) -> None:
    """Raise unless `vector`, a weight or bias, is None or has the shape `(channels,)`."""
    if vector is not None and vector.shape != (channels,):
        raise ValueError(
            f"{op}: {role} has shape {vector.shape}; it must be ({channels},), "
            "one value for each channel"
        )
