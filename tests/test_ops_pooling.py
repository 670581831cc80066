"""Pooling and resizing: windows, ties, padding, and the sizes of ceil_mode."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

rng = np.random.default_rng(6)


def naive_pool(x: Any, kernel: int, stride: int, padding: int, ceil_mode: bool, reduce: Any) -> Any:
    """`reduce` of every window's elements (None for a padded place), by the definition."""
    size = x.shape[2]
    reach = size + 2 * padding - kernel
    count = (-(-reach // stride) if ceil_mode else reach // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    y = np.zeros((*x.shape[:2], count, count))
    for n, c, i, j in np.ndindex(y.shape):
        window = []
        for a in range(i * stride - padding, i * stride - padding + kernel):
            for b in range(j * stride - padding, j * stride - padding + kernel):
                if max(a, b) < size + padding:  # what ceil_mode adds beyond never counts
                    inside = 0 <= a < size and 0 <= b < size
                    window.append(x[n, c, a, b] if inside else None)
        y[n, c, i, j] = reduce(window)
    return y


def largest(window: list[Any]) -> float:
    return max(v for v in window if v is not None)


def mean_with_padding(window: list[Any]) -> float:
    return sum(v or 0.0 for v in window) / len(window)


def mean_without_padding(window: list[Any]) -> float:
    inside = [v for v in window if v is not None]
    return sum(inside) / len(inside)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (2, 3, 1), (3, 1, 0)]
)
def test_pools_follow_the_definition(
    kernel: int, stride: int, padding: int, ceil_mode: bool, device: str, dtype: str
) -> None:
    x = rng.normal(size=(2, 3, 7, 7)).astype(dtype)
    settings = (kernel, stride, padding, ceil_mode)
    exact = naive_pool(x, *settings, largest)
    actual = ops.max_pool2d(Tensor(x, dtype=dtype), kernel, stride, padding, ceil_mode=ceil_mode)
    np.testing.assert_array_equal(actual.data, exact)
    tolerance = 4 * kernel**2 * np.finfo(dtype).eps
    for counted, reduce in ((True, mean_with_padding), (False, mean_without_padding)):
        exact = naive_pool(x.astype("f8"), *settings, reduce)
        y = ops.avg_pool2d(Tensor(x, dtype=dtype), *settings, count_include_pad=counted)
        np.testing.assert_allclose(y.data, exact, rtol=tolerance, atol=tolerance)


def test_a_tie_goes_to_the_first_in_row_major_order(device: str, dtype: str) -> None:
    x = Tensor(np.ones((1, 1, 4, 4)), dtype=dtype, requires_grad=True)
    ops.max_pool2d(x, 2).sum().backward()
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1
    np.testing.assert_array_equal(x.grad[0, 0], expected)


def test_overlapping_windows_give_all_of_the_upstream_gradient(device: str) -> None:
    x = Tensor(rng.normal(size=(2, 2, 6, 6)), requires_grad=True)
    y = ops.max_pool2d(x, 3, 1)
    y.sum().backward()
    assert x.grad.sum() == y.size


def test_nan_wins_and_padding_never_does(device: str, dtype: str) -> None:
    x = -np.ones((1, 1, 4, 4))
    assert (ops.max_pool2d(Tensor(x, dtype=dtype), 3, 1, 1).data == -1).all()
    x[0, 0, 2, 1] = np.nan
    y = ops.max_pool2d(Tensor(x, dtype=dtype), 2).data[0, 0]
    assert np.isnan(y).tolist() == [[False, False], [True, False]]
    lowest = np.full((1, 1, 2, 2), -np.inf)
    assert ops.max_pool2d(Tensor(lowest, dtype=dtype), 2).item() == -np.inf


def test_a_window_of_nothing_but_padding_is_minus_infinity_without_a_gradient(
    device: str, dtype: str
) -> None:
    # Beside the two pixels there is one column of padding, and the taps are three columns apart.
    settings: Any = ((1, 2), (4, 4), (0, 1), (2, 3))
    x = Tensor([[[[1.0, 2.0]]]], dtype=dtype, requires_grad=True)
    y = ops.max_pool2d(x, *settings)
    assert y.tolist() == [[[[-np.inf]]]]
    y.sum().backward()
    assert x.grad.tolist() == [[[[0.0, 0.0]]]]
    by_rows = x.transpose((2, 3))
    y = ops.max_pool2d(by_rows, (2, 1), (4, 4), (1, 0), (3, 2))
    assert y.tolist() == [[[[-np.inf]]]]


def test_second_derivatives_of_a_window_of_nothing_but_padding_are_zero(device: str) -> None:
    x = Tensor([[[[1.0, 2.0]]]], dtype="float64", requires_grad=True)
    upstream = Tensor([[[[3.0]]]], dtype="float64", requires_grad=True)
    y = ops.max_pool2d(x, (1, 2), (4, 4), (0, 1), (2, 3))
    first = babygrad.grad(y, x, upstream, create_graph=True)
    assert first.tolist() == [[[[0.0, 0.0]]]]
    assert babygrad.grad((first * first + first).sum(), upstream).tolist() == [[[[0.0]]]]


# kernel, stride, padding, rows and columns of the image, and what PyTorch 2.13 gives for 1, 2, ...:
# the largest, the mean with padding and that without.
LARGER_THAN_THE_IMAGE = [
    (3, 2, 0, 2, 4.0, 2.5, 2.5),
    (3, 3, 0, 2, 4.0, 2.5, 2.5),
    (5, 7, 0, 2, 4.0, 2.5, 2.5),
    (3, 2, 1, 1, 1.0, 1 / 9, 1.0),
    (5, 5, 2, 1, 1.0, 1 / 25, 1.0),
]


@pytest.mark.parametrize("case", LARGER_THAN_THE_IMAGE)
def test_ceil_mode_admits_one_window_that_is_larger_than_the_image(
    case: Any, device: str, dtype: str
) -> None:
    kernel, stride, padding, size, largest, padded, inside = case
    x = Tensor(1 + np.arange(size * size).reshape(1, 1, size, size), dtype=dtype)
    settings = (kernel, stride, padding)
    assert ops.max_pool2d(x, *settings, ceil_mode=True).tolist() == [[[[largest]]]]
    for counted, expected in ((True, padded), (False, inside)):
        y = ops.avg_pool2d(x, *settings, ceil_mode=True, count_include_pad=counted)
        np.testing.assert_allclose(y.data, [[[[expected]]]], rtol=4 * np.finfo(dtype).eps)
    x = Tensor(x.data, dtype=dtype, requires_grad=True)
    ops.avg_pool2d(x, *settings, ceil_mode=True, count_include_pad=False).sum().backward()
    np.testing.assert_allclose(x.grad, 1 / size**2, rtol=4 * np.finfo(dtype).eps)


def test_ceil_mode_refuses_a_window_that_runs_over_the_image_by_a_stride(device: str) -> None:
    x = Tensor(np.zeros((1, 1, 2, 2)))
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        with pytest.raises(ValueError, match=r"spans 5 .* by less than the stride \(=2\)"):
            pool(x, 5, 2, ceil_mode=True)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "int64", "bool"])
def test_max_pooling_of_integers_keeps_type_and_digits(kind: str, device: str) -> None:
    info = None if kind == "bool" else np.iinfo(kind)
    low, high = (0, 1) if info is None else (int(info.min), int(info.max))
    x = Tensor(np.array([[[[low, low], [low, high]]]]).astype(kind), dtype=kind)
    y = ops.max_pool2d(x, 2)
    assert (y.dtype, y.tolist()) == (np.dtype(kind), [[[[high]]]])
    alone = ops.max_pool2d(x[:, :, :1], (1, 2), (4, 4), (0, 1), (2, 3))
    assert (alone.dtype, alone.tolist()) == (np.dtype(kind), [[[[low]]]])
    mean = ops.avg_pool2d(Tensor([[[[1, 2]]]], dtype="int64"), (1, 2))
    assert (mean.dtype, mean.tolist()) == (np.dtype("float32"), [[[[1.5]]]])


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (5, 4), (7, 6), (None, 3)])
def test_adaptive_pool_averages_the_windows(sizes: Any, device: str, dtype: str) -> None:
    x = rng.normal(size=(2, 2, 5, 6)).astype(dtype)
    y = ops.adaptive_avg_pool2d(Tensor(x, dtype=dtype), sizes).data
    rows, columns = (sizes[0] or 5, sizes[1])
    assert y.shape == (2, 2, rows, columns)
    for i, j in np.ndindex(rows, columns):
        window = x[
            :,
            :,
            i * 5 // rows : -(-(i + 1) * 5 // rows),
            j * 6 // columns : -(-(j + 1) * 6 // columns),
        ]
        mean = window.mean((2, 3), dtype="f8")
        np.testing.assert_allclose(y[:, :, i, j], mean, atol=60 * np.finfo(dtype).eps)


def test_interpolate(device: str, dtype: str) -> None:
    x = Tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=dtype)
    doubled = ops.interpolate(x, scale_factor=2)
    assert doubled.tolist()[0][0] == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert ops.interpolate(x, 3).tolist()[0][0] == [[1, 1, 2], [1, 1, 2], [3, 3, 4]]
    smooth = ops.interpolate(x, (2, 4), mode="bilinear")
    assert smooth.tolist()[0][0] == [[1, 1.25, 1.75, 2], [3, 3.25, 3.75, 4]]
    corners = ops.interpolate(x, (3, 5), mode="bilinear", align_corners=True)
    rows = [[1, 1.25, 1.5, 1.75, 2], [2, 2.25, 2.5, 2.75, 3], [3, 3.25, 3.5, 3.75, 4]]
    assert corners.tolist()[0][0] == rows
    alone = ops.interpolate(x, (1, 2), mode="bilinear", align_corners=True)
    assert alone.tolist()[0][0] == [[1, 2]]


def test_nearest_takes_the_pixel_that_whole_numbers_say(device: str) -> None:
    for before, after in itertools.product((1, 2, 3, 7, 10, 49, 100), (*range(1, 120), 961, 1000)):
        x = Tensor(np.arange(before).reshape(1, 1, 1, before), dtype="int32")
        y = ops.interpolate(x, size=(1, after))
        assert y.dtype == np.dtype("int32")
        assert y.tolist()[0][0][0] == [i * before // after for i in range(after)], (before, after)
        columns = ops.interpolate(x.transpose((2, 3)), size=(after, 1)).data.ravel()
        assert columns.tolist() == y.data.ravel().tolist()


def test_nearest_of_a_scale_factor_takes_what_that_scale_says(device: str) -> None:
    x = Tensor(np.arange(100).reshape(1, 1, 1, 100), dtype="int64")
    for factor, step in (
        (49, 1 / 49),
        (3.0, 1 / 3),
        (0.1, 10),
        (1 / 3, 3),
        (0.3, 10 / 3),
        (2.5, 0.4),
    ):
        y = ops.interpolate(x, scale_factor=(1, factor)).data.ravel()
        assert y.size == math.floor(100 * factor)
        exact = Fraction(step).limit_denominator(1000)
        assert y.tolist() == [min(math.floor(i * exact), 99) for i in range(y.size)]
    for factor in (np.float32(0.5), np.int64(2)):
        assert ops.interpolate(x, scale_factor=factor * 2).size >= x.size


def test_the_gradient_of_nearest_counts_how_often_a_pixel_was_taken(
    device: str, dtype: str
) -> None:
    x = Tensor(np.ones((1, 1, 2, 3)), dtype=dtype, requires_grad=True)
    ops.interpolate(x, size=(98, 7)).sum().backward()
    taken = np.bincount([i * 3 // 7 for i in range(7)])
    assert x.grad[0, 0].tolist() == np.outer([49, 49], taken).tolist()


@pytest.mark.parametrize("corners", [False, True])
def test_bilinear_weighs_by_exact_places(corners: bool, device: str, dtype: str) -> None:
    values = np.arange(7.0) ** 2
    for after in (1, 2, 3, 7, 13, 50):
        x = Tensor(values.reshape(1, 1, 1, 7), dtype=dtype)
        y = ops.interpolate(x, (1, after), mode="bilinear", align_corners=corners).data.ravel()
        for i in range(after):
            place = (
                Fraction(i * 6, max(after - 1, 1))
                if corners
                else Fraction(14 * i + 7 - after, 2 * after)
            )
            place = min(max(place, Fraction(0)), Fraction(6))
            low = math.floor(place)
            exact = values[low] + float(place - low) * (values[min(low + 1, 6)] - values[low])
            assert abs(y[i] - exact) <= 64 * np.finfo(dtype).eps * 36


def test_bilinear_of_integers_is_float32(device: str) -> None:
    x = Tensor([[[[1, 2]]]], dtype="int64")
    y = ops.interpolate(x, (1, 4), mode="bilinear")
    assert (y.dtype, y.tolist()[0][0][0]) == (np.dtype("float32"), [1.0, 1.25, 1.75, 2.0])
    assert ops.interpolate(Tensor([[[[1, 2]]]], dtype="float16"), 2).dtype == np.dtype("float32")


def test_errors(device: str) -> None:
    x = Tensor(np.zeros((1, 1, 3, 3)))
    with pytest.raises(ValueError, match="at most half the kernel"):
        ops.max_pool2d(x, 2, padding=2)
    with pytest.raises(ValueError, match="avg_pool2d: a window spans 4 along the height"):
        ops.avg_pool2d(x, 4)
    with pytest.raises(ValueError, match="must be a non-empty"):
        ops.max_pool2d(Tensor(np.zeros((3, 3))), 2)
    with pytest.raises(ValueError, match="give size"):
        ops.interpolate(x)
    with pytest.raises(ValueError, match="mode"):
        ops.interpolate(x, 2, mode="cubic")
    with pytest.raises(ValueError, match="align_corners"):
        ops.interpolate(x, 2, align_corners=True)
