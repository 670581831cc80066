"""Attention without keys or queries, and recurrent layers over no steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn, ops


def tensors(*shapes: tuple[int, ...], dtype: str) -> list[Tensor]:
    return [Tensor(np.ones(shape), dtype=dtype, requires_grad=True) for shape in shapes]


ATTENTIONS: dict[str, Any] = {
    "plain": lambda queries, keys: {},
    "causal": lambda queries, keys: {"causal": True},
    "masked": lambda queries, keys: {"mask": np.ones((queries, keys), bool)},
    "added mask": lambda queries, keys: {"mask": np.zeros((queries, keys), "float32")},
    "dropout": lambda queries, keys: {"dropout": 0.5},
}


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize(("queries", "keys"), [(2, 0), (0, 3), (0, 0)])
def test_attention_without_keys_is_zero_and_without_queries_empty(
    name: str, queries: int, keys: int, device: str, dtype: str
) -> None:
    settings = ATTENTIONS[name](queries, keys)
    shapes = ((2, 3, queries, 4), (2, 3, keys, 4), (2, 3, keys, 5))
    for recorded in (False, True):
        inputs = tensors(*shapes, dtype=dtype)
        y = ops.scaled_dot_product_attention(*inputs, **settings)
        assert y.tolist() == np.zeros((2, 3, queries, 5)).tolist()
        found = babygrad.grad(y.sum(), inputs, create_graph=recorded)
        assert [g.tolist() for g in found] == [np.zeros(shape).tolist() for shape in shapes]


def test_self_attention_of_length_zero_is_empty(device: str, dtype: str) -> None:
    for settings in ({}, {"causal": True}, {"mask": np.ones((0, 0), bool)}, {"dropout": 0.5}):
        (x,) = tensors((2, 0, 12), dtype=dtype)
        y = ops.self_attention(x, 2, **settings)
        y.sum().backward()
        assert (y.shape, x.grad.shape) == ((2, 0, 4), (2, 0, 12))
    layer = nn.MultiHeadAttention(4, 2)
    assert layer(Tensor(np.ones((3, 0, 4)))).shape == (3, 0, 4)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_layer_over_no_steps_gives_its_first_state(
    kind: Any, bidirectional: bool, device: str, dtype: str
) -> None:
    layer = kind(2, 3, 2, bidirectional=bidirectional, dtype=dtype)
    rows, width = 2 * (1 + bidirectional), 3 * (1 + bidirectional)
    for x_shape, y_shape, state_shape in (
        ((0, 4, 2), (0, 4, width), (rows, 4, 3)),
        ((0, 2), (0, width), (rows, 3)),
    ):
        (x,) = tensors(x_shape, dtype=dtype)
        count = 2 if kind is nn.LSTM else 1
        given = tensors(*[state_shape] * count, dtype=dtype)
        y, last = layer(x, given[0] if count == 1 else tuple(given))
        assert (y.shape, y.dtype) == (y_shape, np.dtype(dtype))
        for state, first in zip([last] if count == 1 else last, given, strict=True):
            assert state.tolist() == first.tolist()
        (y.sum() + (last if count == 1 else last[0]).sum()).backward()
        assert x.grad.shape == x_shape
        assert given[0].grad.tolist() == np.ones(state_shape).tolist()
        y, last = layer(x)
        assert (last if count == 1 else last[0]).tolist() == np.zeros(state_shape).tolist()
    first = kind(2, 3, batch_first=True, dtype=dtype)
    y, _ = first(tensors((4, 0, 2), dtype=dtype)[0])
    assert y.shape == (4, 0, 3)
