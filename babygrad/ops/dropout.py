"""Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from babygrad.ops._common import floating
from babygrad.ops._settings import check_probability
from babygrad.ops.elementwise import where
from babygrad.tensor import Tensor

if TYPE_CHECKING:
    from babygrad.random import Generator


def dropout(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Zeros with probability `p`, and the rest scaled by 1 / (1 - p) (Srivastava et al., 2014).

    Parameters
    ----------
    x : Tensor
    p : float in [0, 1]
        With 0 the result is `x`, with 1 it is zeros; neither draws a random number.
    training : bool
        Without it the result is `x`, and nothing is drawn.
    generator : numpy Generator, optional
        Where the mask comes from, by default the generator of `babygrad.random`. One seed gives
        the same mask on every device.
    """
    x = floating("dropout", x)
    check_probability("dropout", "p", p)
    if not training or p == 0:
        return x
    if p == 1:
        return where(False, x, 0)  # also of an infinity, whose product with 0 is NaN
    settings: Any = {"dtype": x.dtype, "device": x.device, "requires_grad": False}
    mask = Tensor.randb(*x.shape, p=1 - p, generator=generator, **settings)
    return x * (mask / (1 - p))
