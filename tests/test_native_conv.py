"""Convolution of the C++ engine against its definition in float64, on every instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kernels import kernel

_core = pytest.importorskip("babygrad._core", reason="built without the C++ engine")


conv2d = kernel("conv2d")
conv2d_input_grad = kernel("conv2d_input_grad")
conv2d_weight_grad = kernel("conv2d_weight_grad")
rng = np.random.default_rng(0)

Pair = tuple[int, int]


class Case(NamedTuple):
    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]  # (KH, KW, C / groups, O)
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def geometry(self) -> tuple[Pair, tuple[Pair, Pair], Pair, int]:
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def y(self) -> tuple[int, int, int, int]:
        size = [
            (self.x[i + 1] + sum(self.padding[i]) - self.dilation[i] * (self.w[i] - 1) - 1)
            // self.stride[i]
            + 1
            for i in (0, 1)
        ]
        return (self.x[0], size[0], size[1], self.w[3])


def same(kernel: int, dilation: int = 1) -> tuple[Pair, Pair]:
    p = dilation * (kernel // 2)
    return ((p, p), (p, p))


CASES = {
    "3x3": Case((2, 9, 11, 32), (3, 3, 32, 40), padding=same(3)),
    "1x1": Case((2, 5, 7, 20), (1, 1, 20, 33)),
    "1x1 stride 2": Case((2, 6, 7, 20), (1, 1, 20, 33), stride=(2, 2)),
    "5x5 stride 2": Case((2, 12, 11, 9), (5, 5, 9, 17), stride=(2, 2), padding=same(5)),
    "7x7 first layer": Case((1, 20, 21, 3), (7, 7, 3, 16), stride=(2, 2), padding=same(7)),
    "one channel": Case((3, 14, 14, 1), (3, 3, 1, 16), padding=same(3)),
    "one channel both ways": Case((2, 9, 9, 1), (3, 3, 1, 1), padding=same(3)),
    "four channels, many rows": Case((1, 150, 12, 4), (3, 3, 4, 24), padding=same(3)),
    "dilation 2": Case((1, 12, 13, 16), (3, 3, 16, 16), padding=same(3, 2), dilation=(2, 2)),
    "one-dimensional": Case((3, 1, 40, 24), (1, 5, 24, 18), padding=((0, 0), (2, 2))),
    "grouped": Case((2, 8, 9, 24), (3, 3, 6, 36), padding=same(3), groups=4),
    "grouped, wide": Case((1, 6, 6, 34), (3, 3, 17, 40), padding=same(3), groups=2),
    "depthwise": Case((2, 10, 9, 40), (3, 3, 1, 40), padding=same(3), groups=40),
    "depthwise, odd channels": Case((1, 9, 9, 13), (3, 3, 1, 13), (2, 2), same(3), groups=13),
    "depthwise, few channels": Case((2, 7, 8, 3), (5, 5, 1, 3), padding=same(5), groups=3),
    "depthwise, dilated": Case((1, 9, 9, 16), (3, 3, 1, 16), (1, 1), same(3, 2), (2, 2), 16),
    "depthwise, several patches": Case(
        (2, 12, 13, 19), (5, 4, 1, 19), padding=((2, 2), (1, 2)), groups=19
    ),
    "depthwise, stride 2": Case((2, 9, 21, 19), (4, 3, 1, 19), (2, 2), same(3), groups=19),
    "depthwise, multiplier": Case((1, 8, 8, 6), (3, 3, 1, 12), padding=same(3), groups=6),
    "unused rows": Case((1, 8, 9, 8), (3, 3, 8, 8), stride=(4, 5)),
    "padding beyond the kernel": Case((1, 3, 3, 8), (2, 2, 8, 8), padding=((5, 4), (3, 6))),
    "long inner axis": Case((1, 5, 5, 400), (3, 3, 400, 24), padding=same(3)),
    "many images": Case((40, 8, 8, 16), (3, 3, 16, 32), padding=same(3)),
    "panels, stride 2": Case((2, 11, 13, 32), (3, 3, 32, 20), (2, 2), same(3)),
    "panels, stride beyond the kernel": Case((1, 9, 14, 16), (2, 2, 16, 8), (3, 4)),
    "panels, taps far apart": Case((1, 4, 41, 16), (1, 3, 16, 8), dilation=(1, 19)),
    "panels, narrow": Case((5, 40, 3, 16), (3, 3, 16, 12), padding=same(3)),
    "panels, one column": Case((2, 300, 1, 16), (3, 1, 16, 6), padding=((1, 1), (0, 0))),
    "panels, grouped": Case((2, 9, 8, 64), (3, 3, 32, 24), padding=same(3), groups=2),
    "panels, padding beyond the kernel": Case(
        (1, 3, 3, 16), (2, 2, 16, 8), padding=((5, 4), (3, 6))
    ),
    # Enough pixels for Winograd's filtering, which takes them two by two.
    "tiles": Case((4, 14, 14, 16), (3, 3, 16, 16), padding=same(3)),
    "tiles, odd sizes": Case((3, 17, 19, 32), (3, 3, 32, 64), padding=((0, 2), (1, 0))),
    "tiles, odd channels": Case((2, 21, 15, 37), (3, 3, 37, 53), padding=same(3)),
    "tiles, grouped": Case((2, 16, 17, 64), (3, 3, 32, 128), padding=same(3), groups=2),
    "tiles, long inner axis": Case((1, 15, 14, 400), (3, 3, 400, 32), padding=same(3)),
    "tiles, no padding": Case((2, 20, 23, 32), (3, 3, 32, 32)),
    "tiles, padding beyond the kernel": Case(
        (2, 12, 12, 32), (3, 3, 32, 32), padding=((5, 4), (3, 6))
    ),
    "5x5 stride 2, phases in tiles": Case(
        (4, 40, 41, 32), (5, 5, 32, 32), stride=(2, 2), padding=same(5)
    ),
    "no images": Case((0, 5, 5, 3), (3, 3, 3, 8)),
    "no channels": Case((2, 5, 5, 0), (3, 3, 0, 8)),
    "no outputs": Case((2, 5, 5, 4), (3, 3, 4, 0)),
}
TILES = [name for name in CASES if name.startswith("tiles")]


@pytest.fixture(params=_core.available_isas(), autouse=True, scope="module")
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)


def windows(case: Case, array: Any) -> Iterator[tuple[int, int, Any]]:
    """(kh, kw, view of the padded array that tap (kh, kw) reads, (N, HO, WO, C))."""
    for i, j in np.ndindex(*case.w[:2]):
        top, left = i * case.dilation[0], j * case.dilation[1]
        _, height, width, _ = case.y
        yield (
            i,
            j,
            array[
                :,
                top : top + (height - 1) * case.stride[0] + 1 : case.stride[0],
                left : left + (width - 1) * case.stride[1] + 1 : case.stride[1],
            ],
        )


def oracle(case: Case, x: Any, w: Any, b: Any, gy: Any) -> tuple[Any, Any, Any]:
    """y, gx and gw in float64, one tap and one group at a time."""
    x, w, gy = (v.astype(np.float64) for v in (x, w, gy))
    (top, bottom), (left, right) = case.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    y, gpadded, gw = np.zeros(case.y), np.zeros(padded.shape), np.zeros(case.w)
    inputs, outputs = case.w[2], case.w[3] // case.groups
    taps = zip(windows(case, padded), windows(case, gpadded), strict=True)
    for (i, j, pixels), (_, _, gpixels) in taps:
        for g in range(case.groups):
            cs, os = slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)
            y[..., os] += np.einsum("nhwc,co->nhwo", pixels[..., cs], w[i, j][:, os])
            gpixels[..., cs] += np.einsum("nhwo,co->nhwc", gy[..., os], w[i, j][:, os])
            gw[i, j][:, os] = np.einsum("nhwc,nhwo->co", pixels[..., cs], gy[..., os])
    gx = gpadded[:, top : top + x.shape[1], left : left + x.shape[2]]
    return y + (0 if b is None else b), gx, gw


def close(result: Any, expected: Any, length: int) -> None:
    """Sums of `length` products of numbers up to 1; the oracle's are one long float64 sum."""
    assert result.shape == expected.shape
    bound = 16 * np.finfo(result.dtype).eps * np.sqrt(length + 1) + np.finfo(float).eps * length
    assert not expected.size or abs(result - expected).max() <= bound


def check(case: Case, dtype: str, bias: bool = True, planar: bool = False) -> None:
    """All three directions; weights stored (O, C, KH, KW), images NHWC or (planar) NCHW."""
    n, h, width, c = case.x
    if planar:
        x = rng.uniform(-1, 1, (n, c, h, width)).astype(dtype).transpose(0, 2, 3, 1)
    else:
        x = rng.uniform(-1, 1, case.x).astype(dtype)
    w = rng.uniform(-1, 1, (case.w[3], case.w[2], *case.w[:2])).astype(dtype).transpose(2, 3, 1, 0)
    b = rng.uniform(-1, 1, case.w[3]).astype(dtype) if bias else None
    gy = rng.uniform(-1, 1, case.y).astype(dtype)
    y, gx, gw = oracle(case, x, w, b, gy)
    rest = case.geometry
    got_y, got_gx = conv2d(x, w, b, *rest), conv2d_input_grad(gy, w, case.x, *rest)
    taps = case.w[0] * case.w[1]
    close(got_y, y, taps * case.w[2])
    close(got_gx, gx, taps * case.w[3])
    close(conv2d_weight_grad(gy, x, case.w, *rest), gw, case.y[0] * case.y[1] * case.y[2])
    assert got_y.flags.c_contiguous and got_gx.flags.c_contiguous


@pytest.mark.parametrize("name", CASES)
def test_three_directions(name: str, dtype: str) -> None:
    check(CASES[name], dtype)


@pytest.mark.parametrize("name", ["3x3", "1x1", "grouped", "depthwise", "7x7 first layer", "tiles"])
def test_channels_first_memory_is_copied_once(name: str) -> None:
    check(CASES[name], "float32", bias=False, planar=True)
    case = CASES[name]
    x = np.zeros((case.x[0], case.x[3], *case.x[1:3]), np.float32).transpose(0, 2, 3, 1)
    w = np.zeros(case.w, np.float32)
    rest = case.geometry
    _core.reset_layout_copies()
    conv2d(x, w, None, *rest)
    assert _core.layout_copies() == 1
    conv2d(x.copy(), w, None, *rest)
    conv2d(x.copy()[::-1, :, ::-1], w, None, *rest)
    assert _core.layout_copies() == 1


def test_one_channel_needs_no_copy() -> None:
    x = np.zeros((2, 1, 8, 8), np.float32).transpose(0, 2, 3, 1)
    _core.reset_layout_copies()
    conv2d(x, np.zeros((3, 3, 1, 4), np.float32), None, (1, 1), same(3), (1, 1), 1)
    assert _core.layout_copies() == 0


pairs = st.tuples(st.integers(0, 4), st.integers(0, 4))
steps = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilation, padding = draw(steps), (draw(pairs), draw(pairs))
    size = [
        draw(st.integers(max(1, dilation[i] * (kernel[i] - 1) + 1 - sum(padding[i])), 14))
        for i in (0, 1)
    ]
    groups = draw(st.sampled_from([1, 1, 2, 3, 11]))
    inputs = draw(st.sampled_from([1, 2, 3, 5, 17]))
    outputs = draw(st.sampled_from([1, 2, 7, 16, 19]))
    images = draw(st.integers(0, 2))
    return Case(
        (images, size[0], size[1], groups * inputs),
        (*kernel, inputs, groups * outputs),
        draw(steps),
        padding,
        dilation,
        groups,
    )


@settings(max_examples=120, deadline=None)
@given(cases(), st.booleans(), st.booleans())
def test_any_geometry(case: Case, bias: bool, planar: bool) -> None:
    check(case, "float32", bias, planar)


@pytest.mark.parametrize("name", ["many images", "long inner axis", "depthwise", "one channel",
                                  "four channels, many rows", "grouped", "tiles, odd sizes",
                                  "tiles, grouped"])  # fmt: skip
def test_the_bits_do_not_depend_on_the_threads(name: str) -> None:
    case = CASES[name]._replace(x=(max(8, CASES[name].x[0]), *CASES[name].x[1:]))
    x, w = (rng.standard_normal(s).astype(np.float32) for s in (case.x, case.w))
    gy = rng.standard_normal(case.y).astype(np.float32)
    rest = case.geometry
    before = _core.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            results.append(
                (
                    conv2d(x, w, None, *rest).tobytes(),
                    conv2d_input_grad(gy, w, case.x, *rest).tobytes(),
                    conv2d_weight_grad(gy, x, case.w, *rest).tobytes(),
                )
            )
    finally:
        _core.set_num_threads(before)
    assert len(set(results)) == 1


@pytest.mark.parametrize("name", TILES)
def test_an_output_of_a_tile_sees_its_own_window_alone(name: str, dtype: str) -> None:
    case = CASES[name]
    rest = case.geometry
    w = rng.uniform(0.5, 1, case.w).astype(dtype)
    for shape, convolve in (
        (case.x, lambda image: conv2d(image, w, None, *rest)),
        (case.y, lambda image: conv2d_input_grad(image, w, case.x, *rest)),
    ):
        image, alone = rng.uniform(0.5, 1, shape).astype(dtype), np.zeros(shape, dtype)
        at = (shape[0] - 1, shape[1] // 2, shape[2] // 2, shape[3] - 1)
        alone[at] = 1
        before, inside = convolve(image), convolve(alone) != 0
        for value in (np.nan, np.inf, 1e30):
            image[at] = value
            after = convolve(image)
            assert np.array_equal(after[~inside], before[~inside])
            assert not (abs(after[inside]) < 1e29).any()


@pytest.mark.parametrize("name", TILES)
def test_these_sizes_are_computed_in_tiles(name: str, dtype: str) -> None:
    """There an infinity is added and subtracted: a direct sum would be infinite."""
    case = CASES[name]
    rest = case.geometry
    x, w, gy = (rng.uniform(0.5, 1, s).astype(dtype) for s in (case.x, case.w, case.y))
    x[0, 5, 5, 1] = gy[0, 5, 5, 1] = np.inf
    assert np.isnan(conv2d(x, w, None, *rest)).any()
    assert np.isnan(conv2d_input_grad(gy, w, case.x, *rest)).any()
    assert np.isnan(conv2d_weight_grad(np.ones_like(gy), x, case.w, *rest)).any()


@pytest.mark.parametrize("name", TILES)
def test_the_bits_of_tiles_do_not_depend_on_the_strides(name: str, dtype: str) -> None:
    case = CASES[name]
    rest = case.geometry
    x, gy, w = (rng.standard_normal(s).astype(dtype) for s in (case.x, case.y, case.w))
    reverse = (slice(None, None, -1), slice(None, None, -1), slice(None, None, -1))
    flat, away = np.ascontiguousarray, np.ascontiguousarray(w.transpose(3, 2, 0, 1))
    other = away.transpose(2, 3, 1, 0)
    assert np.array_equal(
        conv2d(x[reverse], other, None, *rest), conv2d(flat(x[reverse]), w, None, *rest)
    )
    assert np.array_equal(
        conv2d_input_grad(gy[reverse], other, case.x, *rest),
        conv2d_input_grad(flat(gy[reverse]), w, case.x, *rest),
    )
    assert np.array_equal(
        conv2d_weight_grad(gy[reverse], x[reverse], case.w, *rest),
        conv2d_weight_grad(flat(gy[reverse]), flat(x[reverse]), case.w, *rest),
    )


@pytest.mark.parametrize(("height", "width"), [(80, 90), (512, 256), (364, 364), (401, 400)])
def test_long_weight_gradients_of_ones_are_exact(height: int, width: int, dtype: str) -> None:
    """In tiles: up to 2,048 in each of up to 16 ranges, then one piece and a part of one more."""
    image = np.ones((1, height, width, 16), dtype)
    gw = conv2d_weight_grad(image, image, (3, 3, 16, 16), (1, 1), same(3), (1, 1), 1)
    seen = np.outer(height - np.array([1, 0, 1]), width - np.array([1, 0, 1]))
    assert np.array_equal(gw, np.broadcast_to(seen[:, :, None, None], gw.shape))


def test_long_weight_gradients_stay_accurate() -> None:
    x = np.full((1, 1000, 1000, 1), 1 / 255, np.float32)
    gy = np.ones((1, 1000, 1000, 1), np.float32)
    gw = conv2d_weight_grad(gy, x, (1, 1, 1, 1), (1, 1), same(1), (1, 1), 1)
    assert abs(float(gw.item()) / 3921.5686 - 1) < 4e-6
    gw = conv2d_weight_grad(gy, x, (3, 3, 1, 1), (1, 1), same(3), (1, 1), 1)
    assert abs(float(gw[1, 1].item()) / 3921.5686 - 1) < 4e-6


WORKSPACE = """
import numpy as np
from babygrad import _core
name, images = {name!r}, {images}
x, w = np.ones((images, 224, 224, 64), "f"), np.ones(({size}, {size}, 64, 64), "f")
args = {{
    "conv2d": (x, w, None),
    "conv2d_input_grad": (x, w, x.shape),
    "conv2d_weight_grad": (x, x, w.shape),
}}[name]
y = _core.bind(name, print)(*args, (1, 1), (({size} // 2,) * 2,) * 2, (1, 1), 1)
assert y.shape == (w.shape if name == "conv2d_weight_grad" else x.shape)
stats = _core.memory_stats()
print((stats["peak"] - stats["in_use"]) // _core.get_num_threads())
"""


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="takes minutes when checked")
@pytest.mark.parametrize("size", [3, 9])
@pytest.mark.parametrize("name", ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"])
def test_the_workspace_is_small_whatever_the_image(name: str, size: int, isa: str) -> None:
    """64 x 224 x 224 under 3 x 3 and 9 x 9 kernels; BABYGRAD_SLOW=1 takes 16 such images and not 1.

    The im2col matrix of one image would have 1 GB. Peaks are of a process, so each has its own.
    """
    images = 16 if os.environ.get("BABYGRAD_SLOW") else 1
    command = [sys.executable, "-c", WORKSPACE.format(name=name, size=size, images=images)]
    environment = {**os.environ, "BABYGRAD_ISA": isa}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) <= 64 * 2**20


def test_wrong_geometry_is_left_to_the_reference() -> None:
    asked: list[int] = []
    forward = _core.bind("conv2d", lambda *args: asked.append(1))
    x, w = np.ones((1, 4, 4, 4), np.float32), np.ones((3, 3, 4, 6), np.float32)
    good = ((1, 1), same(3), (1, 1), 1)
    for args in [
        (x, w, None, (0, 1), *good[1:]),
        (x, w, None, (1, 1), ((-1, 0), (0, 0)), (1, 1), 1),
        (x, w, None, *good[:2], (2**40, 1), 1),
        (x, w, None, *good[:3], 3),
        (x, w, None, (1, 1), ((0, 0), (0, 0)), (2, 2), 1),
        (x, w, np.ones(5, np.float32), *good),
        (x, w.astype(np.float64), None, *good),
        (x[0], w, None, *good),
    ]:
        forward(*args)
    assert len(asked) == 8
