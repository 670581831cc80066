"""Convolutions against seven nested loops in float64, and the sizes that the book gets wrong."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn, ops

Array = Any
rng = np.random.default_rng(5)


def naive_conv2d(
    x: Array, w: Array, stride: Any, padding: Any, dilation: Any = (1, 1), groups: int = 1
) -> Array:
    """NCHW x OIHW, by the definition."""
    n, c, height, width = x.shape
    o, i, kh, kw = w.shape
    padded = np.zeros((n, c, height + 2 * padding[0], width + 2 * padding[1]))
    padded[:, :, padding[0] : padding[0] + height, padding[1] : padding[1] + width] = x
    ho = (padded.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    wo = (padded.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, ho, wo))
    for image, out, row, column in np.ndindex(y.shape):
        group = out // (o // groups)
        for channel, dy, dx in np.ndindex(i, kh, kw):
            y[image, out, row, column] += (
                padded[
                    image,
                    group * i + channel,
                    row * stride[0] + dy * dilation[0],
                    column * stride[1] + dx * dilation[1],
                ]
                * w[out, channel, dy, dx]
            )
    return y


def close(actual: Array, expected: Array, dtype: str, terms: int) -> None:
    """Within the bound for a sum of `terms` products of values of about 3."""
    tolerance = 9 * terms * np.finfo(dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


CASES = [
    # size, kernel, stride, padding, dilation, groups
    ((5, 6), (3, 3), (1, 1), (0, 0), (1, 1), 1),
    ((6, 5), (3, 2), (2, 1), (1, 0), (1, 1), 2),
    ((7, 7), (2, 3), (3, 2), (0, 2), (2, 1), 4),
    ((3, 4), (2, 2), (2, 2), (4, 3), (1, 2), 1),
    ((4, 4), (1, 1), (3, 3), (0, 0), (1, 1), 2),
]


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation", "groups"), CASES)
def test_conv2d_and_its_adjoints(
    size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int,
    device: str, dtype: str,
) -> None:  # fmt: skip
    x = rng.normal(size=(2, 4, *size)).astype(dtype)
    w = rng.normal(size=(4, 4 // groups, *kernel)).astype(dtype)
    tx, tw = (Tensor(a, dtype=dtype, requires_grad=True) for a in (x, w))
    y = ops.conv2d(tx, tw, None, stride, padding, dilation, groups)
    exact = naive_conv2d(x.astype("f8"), w.astype("f8"), stride, padding, dilation, groups)
    assert y.dtype == np.dtype(dtype)
    close(y.data, exact, dtype, 4 * kernel[0] * kernel[1])
    # <conv(x, w), g> = <x, gx> = <w, gw>: what makes a gradient of a bilinear map right.
    g = rng.normal(size=y.shape)
    y.backward(Tensor(g, dtype=dtype))
    product = float((exact * g).sum())
    bound = 200 * exact.size * np.finfo(dtype).eps
    assert abs(float((tx.grad * x).sum(dtype="f8")) - product) <= bound
    assert abs(float((tw.grad * w).sum(dtype="f8")) - product) <= bound


def test_errata_conv_backward_when_the_stride_leaves_rows_over(device: str) -> None:
    """28 x 28, 3 x 3, stride 2: (28 - 3) % 2 != 0. The last row and column get no gradient."""
    x = Tensor(rng.normal(size=(1, 28, 28, 1)), dtype="float64", requires_grad=True)
    w = Tensor(rng.normal(size=(3, 3, 1, 2)), dtype="float64", requires_grad=True)
    y = ops.conv(x, w, stride=2)
    assert y.shape == (1, 13, 13, 2)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert not x.grad[0, 27].any()
    assert not x.grad[0, :, 27].any()
    windows = np.zeros((3, 3, 1, 2))
    for row, column in itertools.product(range(13), range(13)):
        windows += x.data[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3][..., None]
    np.testing.assert_allclose(w.grad, windows, rtol=1e-12, atol=1e-12)


def test_errata_conv_weight_gradient_with_stride_and_padding(device: str) -> None:
    x = Tensor(rng.normal(size=(2, 5, 6, 2)), dtype="float64", requires_grad=True)
    w = Tensor(rng.normal(size=(3, 3, 2, 3)), dtype="float64", requires_grad=True)
    y = ops.conv(x, w, 2, 1)
    exact = naive_conv2d(x.data.transpose(0, 3, 1, 2), w.data.transpose(3, 2, 0, 1), (2, 2), (1, 1))
    np.testing.assert_allclose(y.data, exact.transpose(0, 2, 3, 1), atol=1e-12)
    y.sum().backward()
    for place in np.ndindex(w.shape):
        moved = w.data.copy()
        moved[place] += 1.0
        change = ops.conv(x.detach(), Tensor(moved, dtype="float64"), 2, 1).data - y.data
        assert abs(change.sum() - w.grad[place]) < 1e-9


def test_conv_transpose2d_is_the_adjoint_of_conv2d(device: str) -> None:
    for stride, padding, output_padding, groups in ((1, 0, 0, 1), (2, 1, 1, 2), (3, 2, 0, 1)):
        w = rng.normal(size=(4, 2 // groups, 3, 3))
        x = rng.normal(size=(1, 4, 4, 4))
        y = ops.conv_transpose2d(x, w, None, stride, padding, output_padding, groups)
        other = rng.normal(size=y.shape)
        forward = ops.conv2d(other, w, None, stride, padding, groups=groups)
        assert forward.shape == x.shape
        assert abs((forward.data * x).sum() - (y.data * other).sum()) < 1e-9


@pytest.mark.parametrize(
    ("stride", "padding", "output_padding", "dilation"),
    [((1, 1), (0, 0), (0, 0), (1, 1)), ((2, 3), (1, 2), (1, 2), (1, 1)),
     ((1, 3), (2, 1), (3, 3), (4, 4)), ((2, 2), (0, 0), (1, 1), (2, 3))],
)  # fmt: skip
def test_conv_transpose2d_adds_each_pixel_times_the_kernel(
    stride, padding, output_padding, dilation, device: str
) -> None:
    """The third case has an output_padding that exceeds a stride, the last one the padding."""
    x, w = rng.normal(size=(1, 2, 3, 4)), rng.normal(size=(2, 3, 2, 3))
    size = [
        (x.shape[i + 2] - 1) * stride[i] + dilation[i] * (w.shape[i + 2] - 1) + 1 for i in (0, 1)
    ]
    exact = np.zeros((1, 3, size[0] + output_padding[0], size[1] + output_padding[1]))
    for c, i, j, o, k, m in np.ndindex(2, 3, 4, 3, 2, 3):
        place = i * stride[0] + k * dilation[0], j * stride[1] + m * dilation[1]
        exact[0, o, *place] += x[0, c, i, j] * w[c, o, k, m]
    exact = exact[:, :, padding[0] :, padding[1] :]
    exact = exact[:, :, : exact.shape[2] - padding[0], : exact.shape[3] - padding[1]]
    image = Tensor(x, dtype="float64", requires_grad=True)
    y = ops.conv_transpose2d(image, w, None, stride, padding, output_padding, 1, dilation)
    np.testing.assert_allclose(y.data, exact, atol=1e-12)
    y.sum().backward()
    # Linear in x: the gradient of the sum, times x, is the sum itself.
    assert abs((image.grad * x).sum() - exact.sum()) < 1e-10


def test_conv1d_is_conv2d_on_one_row(device: str) -> None:
    x, w, b = rng.normal(size=(2, 4, 9)), rng.normal(size=(6, 2, 3)), rng.normal(size=6)
    exact = naive_conv2d(x[:, :, None], w[:, :, None], (1, 2), (0, 1), (1, 2), 2)
    y = ops.conv1d(x, w, b, 2, 1, 2, 2)
    np.testing.assert_allclose(y.data, exact[:, :, 0] + b[:, None], atol=1e-12)


def test_same_and_valid_padding(device: str) -> None:
    x, w = rng.normal(size=(1, 1, 6, 7)), rng.normal(size=(1, 1, 4, 3))
    assert ops.conv2d(x, w, padding="same").shape == (1, 1, 6, 7)
    assert ops.conv2d(x, w, padding="valid").shape == (1, 1, 3, 5)
    assert ops.conv2d(x[0], w).shape == (1, 3, 5)


def test_layout_travels_in_the_strides(device: str) -> None:
    """Between two convolutions an activation is NHWC in memory, with no copy."""
    y = nn.Conv2d(3, 8, 3, padding=1)(Tensor(rng.normal(size=(2, 3, 6, 6))))
    for step in (y, ops.relu(y), nn.Conv2d(8, 4, 3)(ops.relu(y))):
        assert step.data.transpose(0, 2, 3, 1).flags.c_contiguous


def test_errors_name_the_argument_and_the_rule(device: str) -> None:
    x, w = Tensor(np.zeros((1, 3, 4, 4))), Tensor(np.zeros((2, 3, 5, 5)))
    with pytest.raises(ValueError, match=r"conv2d: a kernel of 5 .* spans 5 along the height"):
        ops.conv2d(x, w)
    assert ops.conv2d(x, w, padding=1).shape == (1, 2, 2, 2)
    with pytest.raises(ValueError, match=r"conv2d: x of shape \(1, 3, 4, 4\) has 3 channels"):
        ops.conv2d(x, Tensor(np.zeros((2, 2, 3, 3))))
    with pytest.raises(ValueError, match="conv2d: bias has shape"):
        ops.conv2d(x, w, np.zeros(3), padding=1)
    with pytest.raises(ValueError, match="groups"):
        ops.conv2d(x, w, groups=2)
    with pytest.raises(ValueError, match="both must have 4 axes"):
        ops.conv(np.zeros((4, 4)), np.zeros((3, 3, 1, 1)))
    with pytest.raises(ValueError, match=r"stride \(=0\)"):
        ops.conv2d(x, w, padding=1, stride=0)
    with pytest.raises(ValueError, match="'same' needs stride 1"):
        ops.conv2d(x, w, padding="same", stride=2)
    with pytest.raises(ValueError, match="output_padding"):
        ops.conv_transpose2d(x, np.zeros((3, 1, 2, 2)), output_padding=1)


def test_an_empty_batch(device: str) -> None:
    x = Tensor(np.zeros((0, 2, 5, 5)), requires_grad=True)
    w = Tensor(np.ones((3, 2, 3, 3)), requires_grad=True)
    ops.conv2d(x, w).sum().backward()
    assert x.grad.shape == (0, 2, 5, 5)
    assert not w.grad.any()
