"""Attention layers: `MultiHeadAttention` and `TransformerBlock`.

The parameters have the names and layouts of PyTorch's `nn.MultiheadAttention` and
`nn.TransformerEncoderLayer`, so that their weights load. Sequences are (N, L, features).
"""

from __future__ import annotations

from typing import Any

from babygrad import init, ops
from babygrad.nn.dropout import Dropout
from babygrad.nn.module import Module, Parameter
from babygrad.nn.norm import LayerNorm
from babygrad.ops._settings import check_choice, check_probability, check_switches, count_of
from babygrad.ops.attention import join_heads, split_heads
from babygrad.tensor import Tensor


class _Projection(Module):
    """`x @ weight.T + bias`, with the weight (out, in) as PyTorch stores it."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool, device: str | None, dtype: Any
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(
            init.xavier_uniform(
                in_features,
                out_features,
                shape=(out_features, in_features),
                device=device,
                dtype=dtype,
            )
        )
        self.bias = None
        if bias:
            self.bias = Parameter(Tensor.zeros(out_features, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight.transpose(), self.bias)


class MultiHeadAttention(Module):
    """Attention in several heads, each with its part of the features (Vaswani et al., 2017).

    Parameters
    ----------
    embed_dim : int
    num_heads : int
        A divisor of embed_dim.
    dropout : float
        Of the attention's weights, in training.
    bias : bool

    Attributes
    ----------
    in_proj_weight : Parameter (3 * embed_dim, embed_dim)
        Those of queries, keys and values, one below the other.
    in_proj_bias : Parameter (3 * embed_dim,), or None
    out_proj.weight : Parameter (embed_dim, embed_dim)
    out_proj.bias : Parameter (embed_dim,), or None

    Examples
    --------
    >>> from babygrad import Tensor, nn
    >>> nn.MultiHeadAttention(8, 2)(Tensor.ones(3, 5, 8), causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.embed_dim = count_of(name, "embed_dim", embed_dim)
        self.num_heads = count_of(name, "num_heads", num_heads)
        if embed_dim % num_heads:
            raise ValueError(
                f"{name}: embed_dim (={embed_dim}) must be divisible by num_heads (={num_heads})"
            )
        check_probability(name, "dropout", dropout)
        check_switches(name, bias=bias)
        self.dropout = dropout
        self.in_proj_weight = Parameter(
            init.xavier_uniform(
                embed_dim,
                3 * embed_dim,
                shape=(3 * embed_dim, embed_dim),
                device=device,
                dtype=dtype,
            )
        )
        self.in_proj_bias = None
        if bias:
            self.in_proj_bias = Parameter(Tensor.zeros(3 * embed_dim, device=device, dtype=dtype))
        self.out_proj = _Projection(embed_dim, embed_dim, bias, device, dtype)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        mask: Any = None,
        causal: bool = False,
    ) -> Tensor:
        """Attend from each query to the keys.

        Parameters
        ----------
        query : Tensor (N, L, embed_dim)
        key, value : Tensor (N, S, embed_dim), optional
            The query, and the key, by default.
        mask, causal
            See `ops.scaled_dot_product_attention`; the mask broadcasts to (N, heads, L, S).
        """
        key = query if key is None else key
        value = key if value is None else value
        if query.ndim != 3 or query.shape[2] != self.embed_dim:
            raise ValueError(
                f"MultiHeadAttention: query has shape {query.shape}; "
                f"it must be (N, L, {self.embed_dim})"
            )
        dropped = self.dropout if self.training else 0.0
        if key is query and value is query:
            joined = ops.linear(query, self.in_proj_weight.transpose(), self.in_proj_bias)
            y = ops.self_attention(joined, self.num_heads, mask, causal, dropped)
        else:
            q, k, v = (split_heads(x, self.num_heads) for x in self._project(query, key, value))
            y = ops.scaled_dot_product_attention(q, k, v, mask, causal, dropout=dropped)
            y = join_heads(y)
        out: Tensor = self.out_proj(y)
        return out

    def _project(self, *inputs: Tensor) -> list[Tensor]:
        """Query, key and value, each by its third of the projection."""
        weights = ops.split(self.in_proj_weight, self.embed_dim, 0)
        biases: Any = (None,) * 3
        if self.in_proj_bias is not None:
            biases = ops.split(self.in_proj_bias, self.embed_dim, 0)
        return [
            ops.linear(x, w.transpose(), b) for x, w, b in zip(inputs, weights, biases, strict=True)
        ]


class TransformerBlock(Module):
    """Attention and a two-layer network, each with normalization and a residual connection.

    Parameters
    ----------
    dim, num_heads : int
    hidden : int, optional
        The width of the network's inner layer, 4 * dim by default.
    dropout : float
        Of the attention's weights, after the attention, inside the network and after it, as in
        PyTorch; in training.
    activation : {"gelu", "relu"}
    norm_first : bool
        Normalize before each part, which trains more stably (Xiong et al., 2020), or after it.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        hidden: int | None = None,
        dropout: float = 0.0,
        activation: str = "gelu",
        norm_first: bool = True,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_choice(name, "activation", activation, "gelu", "relu")
        check_probability(name, "dropout", dropout)
        check_switches(name, norm_first=norm_first)
        count_of(name, "dim", dim)
        hidden = 4 * dim if hidden is None else count_of(name, "hidden", hidden)
        self.activation = activation
        self.norm_first = norm_first
        self.self_attn = MultiHeadAttention(dim, num_heads, dropout, True, device, dtype)
        self.linear1 = _Projection(dim, hidden, True, device, dtype)
        self.linear2 = _Projection(hidden, dim, True, device, dtype)
        self.norm1 = LayerNorm(dim, device=device, dtype=dtype)
        self.norm2 = LayerNorm(dim, device=device, dtype=dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Any = None, causal: bool = False) -> Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        if self.norm_first:
            x = x + self.dropout(self.self_attn(self.norm1(x), mask=mask, causal=causal))
            x = x + self.dropout(self._network(self.norm2(x)))
        else:
            x = self.norm1(x + self.dropout(self.self_attn(x, mask=mask, causal=causal)))
            x = self.norm2(x + self.dropout(self._network(x)))
        return x

    def _network(self, x: Tensor) -> Any:
        activate = ops.gelu if self.activation == "gelu" else ops.relu
        return self.linear2(self.dropout(activate(self.linear1(x))))
