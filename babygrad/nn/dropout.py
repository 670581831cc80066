"""Dropout."""

from __future__ import annotations

from babygrad import ops
from babygrad.nn.module import Module
from babygrad.ops._settings import check_probability
from babygrad.tensor import Tensor


class Dropout(Module):
    """In training, zeros with probability `p` and the rest scaled by 1 / (1 - p).

    In evaluation the input as it is, without a random number drawn (Srivastava et al., 2014).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_probability(type(self).__name__, "p", p)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)
