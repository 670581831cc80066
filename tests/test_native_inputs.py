"""Whatever reaches a kernel is computed, handed to the reference, or refused: never read wildly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_core = pytest.importorskip("babygrad._core", reason="built without the C++ engine")

HANDED_OVER = object()
DTYPES = ["float32", "float64", "int32", "int64", "bool", "float16", "complex64", ">f4"]


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Arrays of odd shapes, dtypes, strides and alignment."""
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    x = np.full(shape, draw(st.integers(0, 3)), draw(st.sampled_from(DTYPES)))
    change = draw(st.sampled_from(["none", "flip", "transpose", "broadcast", "unaligned", "step"]))
    if change == "flip":
        x = x[::-1] if x.ndim else x
    elif change == "transpose":
        x = x.T
    elif change == "broadcast":
        x = np.broadcast_to(x, (2, *x.shape))
    elif change == "unaligned":
        raw = np.zeros(x.nbytes + 1, np.uint8)
        x = raw[1:].view(x.dtype).reshape(x.shape) if x.size else x
    elif change == "step":
        x = np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x
    return x


wild = st.one_of(
    arrays(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
    st.tuples(st.integers(-3, 5), st.integers(-3, 5)),
    st.tuples(*[st.tuples(st.integers(-1, 3), st.integers(-1, 3))] * 2),
    st.lists(arrays(), max_size=2),
    st.sampled_from([(2, 3), (1, 4, 4, 2), np.float32(1), np.ma.masked_array([1.0])]),
)


@pytest.mark.parametrize("name", _core.names())
def test_any_arguments_are_safe(name: str) -> None:
    function = _core.bind(name, lambda *args, **kwargs: HANDED_OVER)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(wild, min_size=1, max_size=8))
    def call(args: list[Any]) -> None:
        try:
            result = function(*args)
        except (TypeError, ValueError, IndexError, MemoryError):
            return
        for array in result if isinstance(result, tuple) else (result,):
            if isinstance(array, np.ndarray):
                array.copy()

    call()


@pytest.mark.parametrize("target", [-2, 3, 2**62])
def test_targets_out_of_range_raise(target: int) -> None:
    cross_entropy = _core.bind("cross_entropy", lambda *args: HANDED_OVER)
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(IndexError, match=f"target {target} at position 1"):
        cross_entropy(x, np.array([0, target]))


@pytest.mark.parametrize("place", [-3, 2])
def test_places_out_of_range_are_the_references_to_refuse(place: int) -> None:
    take = _core.bind("take", np.take)
    with pytest.raises(IndexError):
        take(np.zeros((2, 3)), np.array([place]), 0)


def test_pooling_places_out_of_range_raise() -> None:
    grad = _core.bind("max_pool2d_grad", lambda *args: HANDED_OVER)
    gy = np.ones((1, 2, 2, 3), np.float32)
    index = np.full(gy.shape, 16)
    with pytest.raises(IndexError, match="outside the plane of 16"):
        grad(gy, index, (1, 4, 4, 3))
