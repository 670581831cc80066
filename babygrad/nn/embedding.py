"""Embedding."""

from __future__ import annotations

from typing import Any

from babygrad import ops
from babygrad.nn.module import Module, Parameter
from babygrad.ops._settings import count_of
from babygrad.ops.embedding import check_padding_idx
from babygrad.tensor import Tensor


class Embedding(Module):
    """A learned vector for each of `num_embeddings` ids.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        An id whose vector starts as zeros and is not learned.

    Attributes
    ----------
    weight : Parameter (num_embeddings, embedding_dim)
        From the standard normal distribution at first.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_embeddings = count_of(name, "num_embeddings", num_embeddings, 0)
        self.embedding_dim = count_of(name, "embedding_dim", embedding_dim, 0)
        check_padding_idx(name, padding_idx, num_embeddings)
        self.padding_idx = padding_idx
        weight = Tensor.randn(num_embeddings, embedding_dim, device=device, dtype=dtype)
        if padding_idx is not None:
            weight.data[padding_idx] = 0.0
        self.weight = Parameter(weight)

    def forward(self, ids: Any) -> Tensor:
        return ops.embedding(ids, self.weight, self.padding_idx)
