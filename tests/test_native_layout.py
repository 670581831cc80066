"""Layout travels in the strides: between the first convolution and the flatten nothing is copied.

The engine's counter is not taken at its word: every member of the backend is watched as well, for
arrays that it returns with another memory order than it was given, and for kernels that hand their
case to the reference, whose copies nobody counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import babygrad
from babygrad import Tensor, nn, ops

_core = pytest.importorskip("babygrad._core", reason="built without the C++ engine")

# Members that may copy their argument into another order, and do nothing else.
COPYING = ("reshape", "copy", "ascontiguousarray", "permute_dims", "expand_dims", "squeeze")


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x + self.second(ops.relu(self.norm(self.first(x)))))


class GlobalAverage(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 2 * 2, 10),
    )


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        Block(8),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16),
        GlobalAverage(),
        nn.Linear(16, 10),
    )


# The copies that each may make: the flatten itself.
MODELS = {"cnn": (cnn, 1), "residual": (residual, 0)}


class Watch:
    """What the backend's members did: copies into another order, and cases for the reference."""

    def __init__(self) -> None:
        self.copies: list[str] = []
        self.fallbacks: list[str] = []


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    from babygrad.backends.cpp import CppBackend

    seen = Watch()
    for name in _core.names():
        member = getattr(CppBackend, name)
        reference = member.__self__.fallback

        def handed_over(*args: Any, name: str = name, reference: Any = reference, **kw: Any) -> Any:
            # The views that reshape gives are numpy's.
            images = any(isinstance(x, np.ndarray) and x.ndim == 4 for x in args)
            if images and name != "reshape":
                seen.fallbacks.append(name)
            return reference(*args, **kw)

        monkeypatch.setattr(CppBackend, name, _core.bind(name, handed_over))
    for name in COPYING:
        member = getattr(CppBackend(), name)

        def moving(x: Any, *args: Any, name: str = name, member: Any = member, **kw: Any) -> Any:
            y = member(x, *args, **kw)
            if x.ndim == 4 and min(x.shape) > 1 and not np.shares_memory(x, y):
                seen.copies.append(f"{name} of {x.shape}")
            return y

        monkeypatch.setattr(CppBackend, name, staticmethod(moving))
    return seen


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_copied_between_the_first_convolution_and_the_flatten(
    name: str, watch: Watch
) -> None:
    """Forward and backward of the whole network, on images that lie in memory as NHWC."""
    make, flattens = MODELS[name]
    with babygrad.device("cpu:cpp"):
        model = make()
        x = Tensor(np.ones((4, 16, 16, 3), np.float32)).transpose(0, 3, 1, 2)
        _core.reset_layout_copies()
        ops.cross_entropy(model(x), [0, 1, 2, 3]).backward()
    assert _core.layout_copies() == 0
    assert watch.copies == ["reshape of (4, 32, 2, 2)"] * flattens
    assert watch.fallbacks == []
    assert all(p.grad is not None for p in model.parameters())


def test_a_copy_is_counted_and_seen(watch: Watch) -> None:
    """Of images that lie in memory as NCHW, the first convolution makes its own."""
    with babygrad.device("cpu:cpp"):
        layer = nn.Conv2d(3, 8, 3)
        _core.reset_layout_copies()
        layer(Tensor(np.ones((4, 3, 16, 16), np.float32)))
        assert _core.layout_copies() == 1
        ops.permute(Tensor(np.ones((4, 3, 16, 16))), (0, 2, 3, 1)).reshape((4, -1))
    assert watch.copies == ["reshape of (4, 16, 16, 3)"]


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[Any, tuple[int, ...]]:
    """An array whose axes are in any order, stepped, repeated or reversed, and sizes that fit."""
    factors = draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=5))
    x = np.arange(np.prod(factors)).astype(draw(st.sampled_from(["f4", "f8", "i4", "i8", "?"])))
    x = x.reshape(factors).transpose(draw(st.permutations(range(len(factors)))))
    change = draw(st.sampled_from(["none", "flip", "step", "repeat"]))
    if change == "flip":
        x = x[::-1]
    elif change == "step":
        x = x[:, ::2] if x.ndim > 1 else x[::2]
    elif change == "repeat":
        x = np.broadcast_to(x[:1], x.shape)
    sizes, left = [], x.size
    for size in draw(st.permutations(factors)):
        if left % size == 0:
            sizes.append(size)
            left //= size
    return x, (*sizes, left)


@settings(max_examples=300, deadline=None)
@given(reshapes())
def test_reshape_copies_where_numpy_does(case: tuple[Any, tuple[int, ...]]) -> None:
    x, shape = case
    handed_over: list[Any] = []

    def views(x: Any, shape: Any) -> Any:
        handed_over.append(x)
        return x.reshape(shape)

    got, want = _core.bind("reshape", views)(x, shape), x.reshape(shape)
    assert got.dtype == want.dtype
    assert np.array_equal(got, want)
    assert bool(handed_over) == (x.flags.c_contiguous or np.shares_memory(x, want))
