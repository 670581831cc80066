"""matmul and linear of the C++ engine against products in float64, on every instruction set."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from native_kernels import kernel

_core = pytest.importorskip("babygrad._core", reason="built without the C++ engine")


matmul = kernel("matmul")
linear = kernel("linear")
rng = np.random.default_rng(0)

LAYOUTS = ["rows", "columns", "steps"]
# One below, at and one above the tile's rows (6), its columns (8, 16 or 32 by dtype and target),
# the in-place and packed regimes (12, 48, 192 rows) and the block of the inner axis (320).
SIZES = [
    (1, 1, 1), (1, 9, 40), (2, 3, 4), (5, 7, 15), (6, 16, 16), (7, 17, 17), (8, 5, 33),
    (9, 320, 31), (10, 321, 8), (11, 31, 65), (12, 64, 32), (13, 640, 7), (49, 33, 48),
    (97, 700, 34),
    (191, 20, 50), (193, 330, 129), (40, 1, 40), (1, 700, 300), (300, 700, 1), (3, 2500, 5),
]  # fmt: skip


@pytest.fixture(autouse=True)
def each_isa(isa: str) -> None:
    """Every test on every instruction set."""


def laid_out(shape: tuple[int, ...], order: str, dtype: str) -> Any:
    """Normal numbers in row-major, transposed, or stepped memory."""
    if order == "rows":
        return rng.standard_normal(shape).astype(dtype)
    if order == "columns":
        return rng.standard_normal(shape[::-1]).astype(dtype).T
    return rng.standard_normal((2 * shape[0], 3 * shape[1])).astype(dtype)[::-2, ::3]


def check(y: Any, a: Any, b: Any, bias: Any = None) -> None:
    """y = a b + bias within the rounding of sums of the inner length."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    expected = np.einsum("...ik,...kj->...ij", a64, b64)
    magnitude = np.einsum("...ik,...kj->...ij", abs(a64), abs(b64))
    if bias is not None:
        expected, magnitude = expected + bias, magnitude + abs(bias)
    assert y.shape == expected.shape and y.dtype == a.dtype
    # Blocks of at most 320 products, then one addition per block: the worst case of the first is
    # 320 roundings, random ones grow like the root; 32 is six standard deviations.
    bound = 32 * np.finfo(a.dtype).eps * magnitude
    assert (abs(y - expected) <= bound).all()


@pytest.mark.parametrize("orders", list(itertools.product(LAYOUTS, repeat=2)))
def test_sizes_around_every_tile_in_every_layout(orders: tuple[str, str], dtype: str) -> None:
    for m, k, n in SIZES:
        a, b = laid_out((m, k), orders[0], dtype), laid_out((k, n), orders[1], dtype)
        check(matmul(a, b), a, b)


def test_all_small_sizes(dtype: str) -> None:
    for m, n in itertools.product(range(1, 20), (1, 7, 8, 9, 16, 17, 31, 33)):
        a, b = laid_out((m, 5), "rows", dtype), laid_out((5, n), "rows", dtype)
        check(matmul(a, b), a, b)


SHAPES = [
    ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)),
    ((1, 3, 4), (5, 4, 2)), ((5, 1, 3, 4), (6, 4, 2)), ((7, 3, 4), (4, 2)), ((2, 3, 7, 4), (4, 20)),
    ((2, 0, 4), (4, 3)), ((2, 3, 0), (0, 3)), ((0, 3, 4), (4, 3)), ((3, 4), (4, 0)), ((0,), (0,)),
    ((5, 64, 32), (5, 32, 64)), ((2, 1, 130, 140), (3, 140, 130)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_numpy_shape_rules(left: tuple[int, ...], right: tuple[int, ...], dtype: str) -> None:
    a, b = rng.standard_normal(left).astype(dtype), rng.standard_normal(right).astype(dtype)
    y = matmul(a, b)
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    expected, magnitude = np.matmul(a64, b64), np.matmul(abs(a64), abs(b64))
    assert type(y) is np.ndarray and y.shape == np.shape(expected) and y.flags.c_contiguous
    assert np.all(abs(y - expected) <= 32 * np.finfo(y.dtype).eps * magnitude)


def test_stacks_in_any_layout(dtype: str) -> None:
    a = rng.standard_normal((3, 7, 2, 9)).astype(dtype).transpose(2, 0, 1, 3)
    b = rng.standard_normal((9, 3, 20)).astype(dtype).transpose(1, 0, 2)
    check(matmul(a, b), a, b)
    check(matmul(a, np.broadcast_to(b[0], (2, 3, 9, 20))), a, b[0])
    check(matmul(a[::-1, :, ::-1], b), a[::-1, :, ::-1], b)


@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3, 4), (100, 2), (0, 3)])
def test_linear_adds_a_bias_of_any_stride(lead: tuple[int, ...], dtype: str) -> None:
    for inner, outer in ((1, 1), (9, 10), (33, 17), (330, 64)):
        x = rng.standard_normal((*lead, inner)).astype(dtype)
        w = rng.standard_normal((outer, inner)).astype(dtype).T
        bias = rng.standard_normal(2 * outer).astype(dtype)[::2]
        flat = x.reshape(-1, inner)
        check(linear(x, w, bias).reshape(-1, outer), flat, w, bias)
        check(linear(x, w, None).reshape(-1, outer), flat, w)
        check(linear(x[::-1] if lead else x, w).reshape(-1, outer),
              (x[::-1] if lead else x).reshape(-1, inner), w)  # fmt: skip


def test_an_empty_inner_axis_gives_the_bias() -> None:
    bias = np.arange(3, dtype=np.float32)
    y = linear(np.zeros((2, 0), np.float32), np.zeros((0, 3), np.float32), bias)
    assert (y == bias).all()


# A task alone, packed operands, several blocks of the inner axis, separate sums, matrix-vector
# products of both kinds, an empty inner axis, fewer columns than a vector.
@pytest.mark.parametrize(
    ("m", "k", "n"),
    [
        (7, 9, 5), (70, 300, 130), (200, 700, 100), (20, 9000, 20), (1, 300, 90), (90, 300, 1),
        (1, 70000, 3), (3, 0, 4), (5, 3, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("biased", [True, False])
def test_an_activation_in_the_product_gives_the_bits_of_one_after_it(
    m: int, k: int, n: int, activation: str, biased: bool, dtype: str
) -> None:
    x, w = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    bias = rng.standard_normal(n).astype(dtype) if biased else None
    alone = kernel(activation)
    assert (linear(x, w, bias, activation) == alone(linear(x, w, bias))).all()


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_long_inner_axes_stay_accurate(rows: int) -> None:
    k = 1_000_000
    x = (np.arange(k) % 256 / 255).astype(np.float32)
    exact = float(x.astype(np.float64).sum())
    y = matmul(np.broadcast_to(x, (rows, k)), np.ones((k, rows), np.float32))
    assert abs(y / exact - 1).max() < 4e-6
    constant = matmul(np.full((rows, k), 1 / 255, np.float32), np.ones((k, rows), np.float32))
    assert abs(constant / 3921.5686 - 1).max() < 4e-6


def test_nan_and_infinity_reach_only_their_row_and_column() -> None:
    a, b = np.ones((20, 40), np.float32), np.ones((40, 30), np.float32)
    a[7, 3], b[5, 11] = np.nan, np.inf
    y = matmul(a, b)
    assert np.isnan(y[7]).all() and np.isinf(np.delete(y[:, 11], 7)).all()
    assert (np.delete(np.delete(y, 7, 0), 11, 1) == 40).all()


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(64, 784, 128), (300, 300, 300), (1, 4000, 900), (5000, 9, 5), (20, 70000, 20), (8, 600, 900)],
)
def test_the_bits_do_not_depend_on_the_threads(m: int, k: int, n: int, dtype: str) -> None:
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    bias = rng.standard_normal(n).astype(dtype)
    before = _core.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 4):
            _core.set_num_threads(threads)
            results.append((matmul(a, b).tobytes(), linear(a, b, bias).tobytes()))
    finally:
        _core.set_num_threads(before)
    assert len(set(results)) == 1


def test_what_the_kernel_leaves_to_the_reference() -> None:
    asked: list[str] = []
    product = _core.bind("matmul", lambda a, b: asked.append("matmul"))
    with_bias = _core.bind("linear", lambda *args: asked.append("linear"))
    f32, f64 = np.ones((2, 2), np.float32), np.ones((2, 2))
    for a, b in ((f32, f64), (f32, np.ones((3, 2), np.float32)), (f32[0, 0], f32), (f32 > 0, f32)):
        product(a, b)
    product(np.ones((2, 3, 3)), np.ones((4, 3, 3)))
    with_bias(f32, f32, np.ones(3, np.float32))
    with_bias(f32, f32, np.ones(2))
    with_bias(f32, f32, None, "gelu")
    with_bias(f32, f32, None, 1)
    assert asked == ["matmul"] * 5 + ["linear"] * 4
