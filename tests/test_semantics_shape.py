"""T10 of docs/semantics.md: indexing, shape operations, convolution and pooling geometry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import babygrad
from babygrad import Tensor, no_grad, ops

pytestmark = pytest.mark.usefixtures("twins")


def leaf(values, dtype="float64"):
    return Tensor(values, dtype=dtype, requires_grad=True)


def numbers(*shape):
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


# ----- Indexing -----

INDICES = [
    0,
    -1,
    (1, -2),
    slice(None, None, -1),
    slice(-1, 0, -2),
    (slice(1, None), ..., 0),
    (..., None, 1),
    (None, 2),
    ...,
    [0, 0, 1],
    [-1, -1],
    ([0, 2, 0], [1, 1, -1]),
    (slice(None), [1, 1]),
    ([[0, 1], [1, 0]], slice(None), 1),
    (0, slice(None), [1, 0]),
    ([1, 0], ..., [0, 0]),
    ([0, 1], None, slice(1, 3), [0, 0]),
    np.array([True, False, True]),
    (slice(None), np.array([False, True, True, False])),
    np.arange(24).reshape(3, 4, 2) % 5 == 0,
    np.zeros((3, 4, 2), bool),
    [],
    np.zeros((0, 2), np.int64),
    slice(2, 2),
]


@pytest.mark.parametrize("index", INDICES, ids=[str(i) for i in range(len(INDICES))])
def test_indexing_as_in_numpy(device, dtype, index):
    values = numbers(3, 4, 2)
    x = leaf(values, dtype)
    y = x[index]
    np.testing.assert_array_equal(y.data, values[index])
    upstream = numbers(*y.shape).astype(dtype)
    y.backward(upstream)
    counted = np.zeros((3, 4, 2))
    at = np.array([], int) if isinstance(index, list) and not index else index
    np.add.at(counted, at, upstream)
    np.testing.assert_array_equal(x.grad, counted)
    assert x.grad.dtype == np.dtype(dtype)


def test_repeated_indices_accumulate(device, dtype):
    x = leaf([1.0, 2.0, 3.0], dtype)
    x[[0, 0, 1]].sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 1, 0])


@pytest.mark.parametrize(
    "index",
    [3, -4, (0, 4), [0, 3], [-4], ([0], [2, 9]), np.array([2**40]), (0, 0, 0, 0), (..., 5),
     np.array([True, False]), (..., ...), 1.5, [0.5], "a"],
    ids=str,
)  # fmt: skip
def test_a_wrong_index_raises(device, index):
    x = Tensor(numbers(3, 4, 2))
    with pytest.raises(IndexError, match="getitem"):
        x[index]
    with pytest.raises(IndexError, match="setitem"):
        x[index] = 1.0
    np.testing.assert_array_equal(x.data, numbers(3, 4, 2))


@pytest.mark.parametrize("bad", [3, -4, 2**62, -(2**62)])
def test_no_wild_memory_is_read(device, bad):
    x = leaf(numbers(3, 2))
    calls = [
        lambda: ops.take(x, [0, bad], axis=0),
        lambda: ops.gather(x, 0, np.array([[0, bad]])),
        lambda: ops.scatter_add(x, 0, np.array([[0, bad]]), Tensor([[1.0, 1.0]])),
        lambda: ops.embedding([0, bad], x),
        lambda: ops.one_hot([0, bad], 3),
        lambda: ops.cross_entropy(x, [0, 1, bad]),
    ]
    for call in calls:
        with pytest.raises(IndexError, match=str(bad)):
            call()


def test_embedding_accumulates_and_has_a_padding_row(device, dtype):
    weight = leaf(numbers(4, 2), dtype)
    ops.embedding([[1, 1, 3], [0, 3, 1]], weight, padding_idx=3).sum().backward()
    np.testing.assert_array_equal(weight.grad, [[1, 1], [3, 3], [0, 0], [0, 0]])


def test_assignment_in_a_graph(device, dtype):
    x, v = leaf(numbers(3), dtype), leaf([7.0], dtype)
    y = x * 2
    y[1:2] = v
    (y * Tensor([1.0, 10.0, 100.0], dtype=dtype)).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 0, 200])
    np.testing.assert_array_equal(v.grad, [10])


# ----- Permutations, reshapes, joining -----

PERMUTATIONS = [p for n in range(1, 5) for p in itertools.permutations(range(n))]


@pytest.mark.parametrize("axes", PERMUTATIONS, ids=str)
def test_every_permutation_has_the_inverse_gradient(device, axes):
    shape = (2, 3, 4, 5)[: len(axes)]
    x = leaf(numbers(*shape))
    y = ops.permute(x, axes)
    np.testing.assert_array_equal(y.data, np.transpose(x.data, axes))
    upstream = numbers(*y.shape)
    y.backward(upstream)
    expected = np.zeros(shape)
    for index in np.ndindex(y.shape):
        source = [0] * len(axes)
        for position, axis in enumerate(axes):
            source[axis] = index[position]
        expected[tuple(source)] = upstream[index]
    np.testing.assert_array_equal(x.grad, expected)


@pytest.mark.parametrize("pair", list(itertools.permutations(range(4), 2)), ids=str)
def test_transpose_swaps_two_axes(device, pair):
    x = leaf(numbers(2, 3, 4, 5))
    y = x.transpose(pair)
    np.testing.assert_array_equal(y.data, np.swapaxes(x.data, *pair))
    upstream = numbers(*y.shape)
    y.backward(upstream)
    np.testing.assert_array_equal(x.grad, np.swapaxes(upstream, *pair))


@pytest.mark.parametrize("sizes", [(-1, 0), (0, -1), (3, -1), (-1, -1), (2, 3)])
def test_reshape_of_an_empty_tensor(device, sizes):
    x = leaf(np.zeros((0, 3)))
    try:
        expected = np.zeros((0, 3)).reshape(sizes).shape
    except ValueError:
        with pytest.raises(ValueError, match="reshape"):
            x.reshape(sizes)
    else:
        y = x.reshape(sizes)
        assert y.shape == expected
        y.sum().backward()
        assert x.grad.shape == (0, 3)


LAYOUTS = {
    "transposed": lambda x: x.transpose((0, 2)),
    "reversed": lambda x: x[::-1, :, ::-1],
    "strided": lambda x: x[:, ::2],
    "expanded": lambda x: x[:1].expand((3, -1, -1)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "op", [lambda x: x.flatten(), lambda x: x.reshape(-1, 2), lambda x: x.flatten(1)]
)
def test_reshape_of_what_is_not_contiguous(device, dtype, layout, op):
    values = numbers(2, 4, 6)
    x = leaf(values, dtype)
    view = LAYOUTS[layout](x)
    y = op(view)
    shape = y.shape
    np.testing.assert_array_equal(y.data, np.ascontiguousarray(view.data).reshape(shape))
    y.backward(numbers(*shape).astype(dtype))
    again = leaf(values, dtype)
    LAYOUTS[layout](again).backward(numbers(*shape).reshape(view.shape).astype(dtype))
    np.testing.assert_array_equal(x.grad, again.grad)


def test_round_trips(device, dtype):
    values = numbers(4, 6)
    trips = [
        lambda x: ops.concatenate(x.split(4, axis=1), axis=1),
        lambda x: ops.concatenate(x.split([1, 3], axis=0)),
        lambda x: ops.stack([x[i] for i in range(4)]),
        lambda x: ops.stack([x, x], axis=1)[:, 0],
        lambda x: ops.pad(x, ((1, 2), (0, 3)))[1:5, :6],
        lambda x: x.flip(1).flip((0, 1)).flip(0),
        lambda x: x.repeat(3, axis=1)[:, ::3],
        lambda x: x.unsqueeze(1).expand((4, 5, 6))[:, 2],
        lambda x: x.unsqueeze(0).unsqueeze(-1).squeeze(),
        lambda x: x.roll(2, 0).roll(-2, 0),
        lambda x: x.tile((2, 2))[4:, 6:],
        lambda x: ops.undilate(ops.dilate(x, (0, 1), 2), (0, 1), 2),
    ]
    for trip in trips:
        x = leaf(values, dtype)
        y = trip(x)
        np.testing.assert_array_equal(y.data, values)
        y.backward(values.astype(dtype))
        np.testing.assert_array_equal(x.grad, values)


def test_writing_to_a_view(device, dtype):
    """Basic indexing, reshape and permute are views; what picks with an array is a copy."""
    for view, is_view in [
        (lambda x: x[1], True),
        (lambda x: x[:, ::-1], True),
        (lambda x: x.reshape(6), True),
        (lambda x: x.permute(1, 0), True),
        (lambda x: x.squeeze(), True),
        (lambda x: x[[0, 1]], False),
        (lambda x: x + 0, False),
        (lambda x: x.detach(), False),
        (lambda x: x.copy() if hasattr(x, "copy") else x.detach(), False),
    ]:
        x = Tensor(numbers(2, 3), dtype=dtype)
        with no_grad():
            part = view(x)
            part += 100
        assert (x.data > 100).any() == is_view


def test_a_broadcast_view_refuses_writes(device, dtype):
    x = Tensor([[1.0], [2.0]], dtype=dtype)
    wide = x.expand((2, 3))
    with pytest.raises(RuntimeError, match="read-only"):
        wide += 1
    np.testing.assert_array_equal(x.data, [[1], [2]])


# ----- Convolution and pooling against loops -----


def conv_loops(x, w, stride, padding, dilation, groups, upstream=None):
    """NCHW cross-correlation, one product at a time; with upstream also both gradients."""
    n, _, h, wd = x.shape
    o, cg, kh, kw = w.shape
    px = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    ho = (px.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    wo = (px.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, ho, wo))
    gx, gw = np.zeros_like(px), np.zeros_like(w)
    for oc, i, j, ic, a, b in itertools.product(
        range(o), range(ho), range(wo), range(cg), range(kh), range(kw)
    ):
        row, column = i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]
        channel = oc // (o // groups) * cg + ic
        y[:, oc, i, j] += px[:, channel, row, column] * w[oc, ic, a, b]
        if upstream is not None:
            gx[:, channel, row, column] += upstream[:, oc, i, j] * w[oc, ic, a, b]
            gw[oc, ic, a, b] += (upstream[:, oc, i, j] * px[:, channel, row, column]).sum()
    gx = gx[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + wd]
    return y, gx, gw


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 4)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
    size=st.tuples(st.integers(5, 8), st.integers(7, 9)),
)
def test_convolution_of_any_geometry(kernel, stride, padding, dilation, groups, size):
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(2, 4, *size))
    ws = rng.normal(size=(4, 4 // groups, *kernel))
    y, _, _ = conv_loops(xs, ws, stride, padding, dilation, groups)
    upstream = rng.normal(size=y.shape)
    _, gx, gw = conv_loops(xs, ws, stride, padding, dilation, groups, upstream)
    for device in available():
        x, w = Tensor(xs, dtype="float64", device=device, requires_grad=True), None
        w = Tensor(ws, dtype="float64", device=device, requires_grad=True)
        out = ops.conv2d(x, w, None, stride, padding, dilation, groups)
        np.testing.assert_allclose(out.data, y, rtol=1e-10, atol=1e-10)
        out.backward(upstream)
        np.testing.assert_allclose(x.grad, gx, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(w.grad, gw, rtol=1e-10, atol=1e-10)


def available():
    for name in ("cpu:numpy", "cpu:cpp", "cpu:numba"):
        try:
            with babygrad.device(name):
                yield name
        except RuntimeError:
            continue


def test_a_kernel_larger_than_the_image_raises(device, dtype):
    x, w = Tensor(numbers(1, 1, 3, 3), dtype=dtype), Tensor(numbers(1, 1, 4, 4), dtype=dtype)
    with pytest.raises(ValueError, match="conv2d: a kernel of 4"):
        ops.conv2d(x, w)
    assert ops.conv2d(x, w, padding=1).shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match="conv: a kernel of 4"):
        ops.conv(x.reshape(1, 3, 3, 1), w.reshape(4, 4, 1, 1))


def test_average_pool_says_whether_padding_counts(device, dtype):
    x = Tensor(np.ones((1, 1, 2, 2)), dtype=dtype)
    counted = ops.avg_pool2d(x, 2, 1, padding=1, count_include_pad=True)
    left_out = ops.avg_pool2d(x, 2, 1, padding=1, count_include_pad=False)
    np.testing.assert_array_equal(
        counted.data[0, 0], [[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]]
    )
    np.testing.assert_array_equal(left_out.data, np.ones((1, 1, 3, 3)))


def test_no_window_of_ceil_mode_starts_in_the_padding(device, dtype):
    # 5 rows and 1 of padding on each side, kernel 2, stride 3: ceil(5 / 3) + 1 = 3 windows start
    # at -1, 2, 5; the row 5 is padding, so there are two.
    x = Tensor(numbers(1, 1, 5, 5), dtype=dtype)
    assert ops.max_pool2d(x, 2, 3, 1, ceil_mode=True).shape == (1, 1, 2, 2)
    np.testing.assert_array_equal(
        ops.max_pool2d(x, 2, 2, 0, ceil_mode=True).data[0, 0],
        [[7, 9, 10], [17, 19, 20], [22, 24, 25]],
    )
    np.testing.assert_array_equal(
        ops.avg_pool2d(x, 2, 2, 0, ceil_mode=True).data[0, 0, 2], [21.5, 23.5, 25]
    )
